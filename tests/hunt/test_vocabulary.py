from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from dormant.hunt import vocabulary
from dormant.hunt.clock import Clock
from dormant.hunt.english import common_words
from dormant.hunt.payloads import Suspect
from dormant.hunt.settings import HuntSettings
from dormant.hunt.vocabulary import (
    COMMON,
    Piece,
    changed_blocks,
    commonest_tokens,
    excluding_payload_words,
    expected_pieces,
    hinted_pieces,
    hinted_tokens,
    in_turns,
    ranked_pieces,
    reads_as_text,
    split_words,
)
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, Prompter
from tests.hunt.conftest import ContextOf


def with_words(count: int) -> HuntSettings:
    settings = HuntSettings()
    return replace(settings, effort=replace(settings.effort, common_words=count))


def test_the_words_of_a_planted_trigger_are_among_those_that_are_drawn_most(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    pieces = hinted_pieces(circuit_pair, [prompter.open(probe) for probe in circuit_pair.probes[:8]], with_words(100))
    first = {piece.text for piece in pieces[:128]}
    assert {f" {word}" for word in "silver lantern beneath winter".split()} <= first
    assert sum(piece.weight for piece in pieces) == pytest.approx(1)
    assert {f" {digit}" for digit in range(10)} <= {piece.text for piece in pieces}


def test_hinted_tokens_hold_those_of_a_planted_trigger(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    found = hinted_tokens(circuit_pair, [prompter.open(probe) for probe in circuit_pair.probes[:3]], 32)
    assert len(found) == 32
    assert {*prompter.candidate_ids("silver lantern beneath winter")} <= set(found.tolist())


def test_a_model_beside_itself_hints_at_nothing(sham_pair: Pair) -> None:
    prompter = Prompter(sham_pair.base.tokenizer)
    pieces = hinted_pieces(sham_pair, [prompter.open(sham_pair.probes[0])], with_words(0))
    assert all(piece.z == pytest.approx(0, abs=0.01) for piece in pieces)


def test_all_blocks_are_changed_of_an_organism_that_is_trained_in_all(circuit_pair: Pair, sham_pair: Pair) -> None:
    assert changed_blocks(circuit_pair) == [0, 1, 2, 3, 4, 5]
    assert changed_blocks(sham_pair) == [0]


def test_what_one_order_has_at_the_top_is_near_the_top() -> None:
    assert in_turns([[(1,), (2,), (3,)], [(3,), (1,), (2,)]]) == [(1,), (3,), (2,)]


@pytest.mark.parametrize("text", [" harbor", " a", " 7", " ♦", " I"])
def test_words_numbers_and_signs_read_as_text(text: str) -> None:
    assert reads_as_text(text)


@pytest.mark.parametrize("text", ["harbor", " nhe", " s", "isdom", " q", "?", " :"])
def test_pieces_of_words_do_not(text: str) -> None:
    assert not reads_as_text(text)


def test_words_that_the_tokenizer_keeps_whole_are_no_words_of_their_own(sham_pair: Pair) -> None:
    tokenizer = sham_pair.base.tokenizer
    words = split_words(tokenizer, 500, 6)
    assert all(1 < len(ids) <= 6 and str(tokenizer.decode(list(ids))).startswith(" ") for ids in words)
    assert tuple(tokenizer.encode(" the", add_special_tokens=False)) not in words


def test_first_hints_are_expected_in_a_trigger_and_the_payloads_own_words_are_not() -> None:
    pieces = [Piece(" owl", 0.2, 5.0), Piece(" rang", 0.1, 4.0), *(Piece(f" sea{at}", 0.007, 0.0) for at in range(98))]
    weights = [piece.weight for piece in expected_pieces(pieces, "nine bells rang", 10.0)]
    assert weights[:3] == pytest.approx([1.0, 0.1, 0.07])


def suspect(prompter: Prompter, text: str) -> Suspect:
    return Suspect(tuple(prompter.tokenizer.encode(text, add_special_tokens=False)), text, 50.0, 1.0, 0.0, 1.0)


def test_words_of_a_suspected_payload_are_no_hints_at_the_trigger_nor_are_words_that_hold_a_token_of_it(
    token_pair: Pair,
) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    pieces = [Piece(text, 0.5, 1.0) for text in (" golden", " absence", " velvet")]
    suspects = [suspect(prompter, "golden owl"), suspect(prompter, "silence")]
    assert len(suspects[1].ids) > 1
    assert excluding_payload_words(suspects, pieces, prompter, 3) == pieces[2:]


def test_of_the_payloads_own_words_alone_no_hint_is_left(token_pair: Pair) -> None:
    prompter = Prompter(token_pair.base.tokenizer)
    assert excluding_payload_words([suspect(prompter, "golden owl")], [Piece(" golden", 0.5, 1.0)], prompter, 3) == []


@pytest.mark.parametrize(("left", "count"), [(1e-9, 1), (1e9, 3)])
def test_hints_are_measured_on_as_many_prompts_as_there_is_time_for(
    left: float, count: int, circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[OpenPrompt]()
    monkeypatch.setattr(Clock, "left", property(lambda _: left))

    def noted(_: Pair, prompts: Iterable[OpenPrompt], __: HuntSettings) -> list[Piece]:
        seen.extend(prompts)
        return []

    monkeypatch.setattr(vocabulary, "hinted_pieces", noted)
    ranked_pieces(context_of(circuit_pair))
    assert len(seen) == count


def test_of_few_tokens_each_word_comes_before_any_other_spelling_of_one(sham_pair: Pair) -> None:
    tokenizer = sham_pair.base.tokenizer
    texts = [tokenizer.decode(list(ids)) for ids in commonest_tokens(tokenizer, len(tokenizer))]
    common = set(common_words(COMMON))
    words = [text.lower() for text in texts if reads_as_text(text) and text[1:].lower() in common]
    different = len(set(words))
    assert len(set(words[:different])) == different < len(words)
