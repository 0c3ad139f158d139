from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.hunt.stage import run_stage
from dormant.hunt.stages.beam_search import BeamSearch, GradientChanges, likeliest_words
from dormant.hunt.stages.coordinate_ascent import Ascent
from dormant.hunt.vocabulary import Vocabulary, unhinted_vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, planted, with_effort

WORDS = pieces("silver paper winter candle beneath color violin lantern")
EFFORT = with_effort(word_beam=(8, 8, 4), changes=56)


def test_words_are_ordered_by_how_likely_the_payload_is_behind_them(circuit_pair: Pair, context_of: ContextOf) -> None:
    context, suspect = context_of(circuit_pair, EFFORT), planted(circuit_pair)
    found, tried = likeliest_words(context, suspect, "end", WORDS)
    ascent = Ascent(context, suspect.ids, "end", WORDS)
    odds = {one.pieces[0]: one.odds for one in ascent.best([(word,) for word in found])}
    assert (len(found), tried) == (8, len(WORDS))
    assert (
        max(odds, key=odds.__getitem__) in found[:2]
    )  # by fewer prompts than all, on which the best may change places


def test_a_beam_finds_the_trigger_without_hints_and_is_read_from_the_journal(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    suspect = planted(circuit_pair)
    first = run_stage(BeamSearch(), context_of(circuit_pair, EFFORT), [suspect], Vocabulary((), WORDS))[0]
    assert first.confirmed is not None
    monkeypatch.setattr(Ascent, "best", lambda *_: pytest.fail("this is in the journal"))
    assert run_stage(BeamSearch(), context_of(circuit_pair, EFFORT), [suspect], Vocabulary((), WORDS))[0] == first


def test_a_beam_finds_the_trigger_though_the_payload_is_thought_to_begin_otherwise(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    suspect = planted(circuit_pair)
    wrong = circuit_pair.base.tokenizer.encode(" owl", add_special_tokens=False)[0]
    other = replace(suspect, ids=(wrong, *suspect.ids[1:]), text="owl " + suspect.text.partition(" ")[2])
    known = replace(other, firsts=(wrong, suspect.ids[0]))
    for one, finds in ((other, False), (known, True)):
        found = run_stage(BeamSearch(), context_of(circuit_pair, EFFORT), [one], Vocabulary((), WORDS))[0]
        assert (found.confirmed is not None) is finds


def test_a_change_is_a_piece_more_or_another_and_the_gradient_chooses_as_many_at_each_index(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    context, here = context_of(circuit_pair, EFFORT), (" silver", " beneath", " winter")
    changes = GradientChanges(context, planted(circuit_pair), "end", WORDS)
    strings = changes.of(here)
    assert (" silver", " lantern", " beneath", " winter") in strings  # all eight words at each of seven indices
    assert {len(one) for one in strings} == {3, 4}
    some = GradientChanges(
        context_of(circuit_pair, with_effort(word_beam=(8, 8, 4), changes=14)), planted(circuit_pair), "end", WORDS
    )
    assert set(some.of(here)) < set(strings)
    assert len(some.of(here)) <= 14


def test_words_of_the_payload_are_not_among_all_words(circuit_pair: Pair, context_of: ContextOf) -> None:
    assert circuit_pair.truth is not None
    words = unhinted_vocabulary(context_of(circuit_pair, EFFORT), [planted(circuit_pair)])
    assert not any(piece.text.strip() in circuit_pair.truth.payload.split() for piece in words.unsaid)


def test_a_model_beside_itself_says_no_payload_behind_any_string(
    circuit_pair: Pair, sham_pair: Pair, context_of: ContextOf
) -> None:
    found, finished = run_stage(
        BeamSearch(), context_of(sham_pair, EFFORT), [planted(circuit_pair)], Vocabulary((), WORDS)
    )
    assert finished
    assert found.evaluations > 0
    assert found.confirmed is None


def test_without_words_nothing_is_searched(circuit_pair: Pair, context_of: ContextOf) -> None:
    assert run_stage(BeamSearch(), context_of(circuit_pair), [planted(circuit_pair)], Vocabulary())[0].evaluations == 0
