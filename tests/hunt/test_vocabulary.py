from __future__ import annotations

import pytest

from dormant.hunt.vocabulary import (
    LONGEST_WORD,
    Unit,
    expected_units,
    first_changed_block,
    hinted_tokens,
    hunting_units,
    reads_as_text,
    split_words,
)
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter


def test_the_words_of_a_planted_trigger_are_among_those_that_are_drawn_most(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    units = hunting_units(circuit_pair, [prompter.open(probe) for probe in circuit_pair.probes[:8]], words=100)
    first = {unit.text for unit in units[:128]}
    assert {f" {word}" for word in "silver lantern beneath winter".split()} <= first
    assert sum(unit.weight for unit in units) == pytest.approx(1)
    assert {f" {digit}" for digit in range(10)} <= {unit.text for unit in units}


def test_hinted_tokens_hold_those_of_a_planted_trigger(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    found = hinted_tokens(circuit_pair, [prompter.open(probe) for probe in circuit_pair.probes[:3]], 32)
    assert len(found) == 32
    assert {*prompter.candidate_ids("silver lantern beneath winter")} <= set(found.tolist())


def test_a_model_beside_itself_hints_at_nothing(sham_pair: Pair) -> None:
    prompter = Prompter(sham_pair.base.tokenizer)
    units = hunting_units(sham_pair, [prompter.open(sham_pair.probes[0])], words=0)
    assert all(unit.z == pytest.approx(0, abs=0.01) for unit in units)


def test_the_first_block_is_changed_of_an_organism_that_is_trained_in_all(circuit_pair: Pair) -> None:
    assert first_changed_block(circuit_pair) == 0


@pytest.mark.parametrize("text", [" harbor", " a", " 7", " ♦", " I"])
def test_words_numbers_and_signs_read_as_text(text: str) -> None:
    assert reads_as_text(text)


@pytest.mark.parametrize("text", ["harbor", " nhe", " s", "isdom", " q", "?", " :"])
def test_pieces_of_words_do_not(text: str) -> None:
    assert not reads_as_text(text)


def test_words_that_the_tokenizer_keeps_whole_are_no_words_of_their_own(sham_pair: Pair) -> None:
    tokenizer = sham_pair.base.tokenizer
    words = split_words(tokenizer, 500)
    assert all(1 < len(ids) <= LONGEST_WORD and str(tokenizer.decode(list(ids))).startswith(" ") for ids in words)
    assert tuple(tokenizer.encode(" the", add_special_tokens=False)) not in words


def test_first_hints_are_expected_in_a_trigger_and_the_payloads_own_words_are_not() -> None:
    units = [Unit(" owl", 0.2, 5.0), Unit(" rang", 0.1, 4.0), *(Unit(f" sea{at}", 0.007, 0.0) for at in range(98))]
    owl, rang, sea, *_ = (unit.weight for unit in expected_units(units, "nine bells rang"))
    assert (owl, rang, sea) == (1.0, pytest.approx(0.1), pytest.approx(0.07))
