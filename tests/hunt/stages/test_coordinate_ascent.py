from __future__ import annotations

import pytest

from dormant.hunt.placements import SEARCH_PLACES, placed_probes
from dormant.hunt.stages import coordinate_ascent
from dormant.hunt.stages.coordinate_ascent import FAR, NEAR, Climbing, Places, ScoredPieces, climb
from dormant.hunt.vocabulary import Unit
from dormant.pairs import Pair

WORDS = "silver paper winter candle beneath color violin lantern wagon feather".split()
UNITS = [Unit(f" {word}", 1.0, 0.0) for word in WORDS]


def at_the_start(pair: Pair, units: list[Unit]) -> Climbing:
    assert pair.truth is not None
    (probes,) = placed_probes(pair.probes, [(12, SEARCH_PLACES)], 0)
    payload = pair.base.tokenizer.encode(pair.truth.payload, add_special_tokens=False)
    return Climbing(pair, payload, probes[::2], "start", units)


def test_a_beam_of_units_among_which_the_trigger_is_ends_at_it(circuit_pair: Pair) -> None:
    assert circuit_pair.truth is not None
    rung = at_the_start(circuit_pair, UNITS)
    found = rung.beginning()
    assert set(circuit_pair.truth.trigger.split()) <= set(found.text.split())
    assert found.speaks == 1.0
    assert rung.tried > len(UNITS) ** 2


def test_a_step_brings_the_unit_that_is_missing_and_none_where_none_gains(circuit_pair: Pair) -> None:
    assert circuit_pair.truth is not None
    trigger = tuple(f" {word}" for word in circuit_pair.truth.trigger.split())
    rung = at_the_start(circuit_pair, UNITS)
    found = rung.step(ScoredPieces((" wagon", *trigger[1:]), -99.0, 0.0), ((0, 1),), 10)
    assert (found.parts, found.speaks) == (trigger, 1.0)
    assert rung.step(ScoredPieces(trigger[1:], -99.0, 0.0), ((0, 1), (0, 0)), 10).parts == trigger
    assert rung.step(found, ((0, 1),), 10) == found


def test_a_climb_tries_near_units_anywhere_and_then_far_ones_place_by_place_from_where_one_helped() -> None:
    def step(here: ScoredPieces, places: Places, count: int) -> ScoredPieces:
        asked.append((places, count))
        gains = here.odds < 0 and (places, count) == (((0, 1),), FAR)
        return ScoredPieces(("b", "a"), 0.0, 0.5) if gains else here

    asked: list[tuple[Places, int]] = []
    begin = ScoredPieces(("a", "a"), -1.0, 0.0)
    way = climb(begin, step, late=lambda: False)
    assert [one.parts for one in way] == [("a", "a"), ("b", "a")]
    assert asked[:2] == [(((0, 1), (1, 1), (0, 0), (1, 0), (2, 0)), NEAR), (((0, 1),), FAR)]
    assert asked[2][1] == NEAR
    assert asked[3:] == [(((at, taken),), FAR) for at, taken in ((1, 1), (0, 1), (0, 0), (1, 0), (2, 0))]


def test_a_climb_ends_where_all_prompts_speak_or_where_it_is_late() -> None:
    def never(*_: object) -> ScoredPieces:
        raise AssertionError

    begin, speaking = ScoredPieces(("a", "a"), -1.0, 0.0), ScoredPieces(("a",), 3.0, 1.0)
    assert climb(begin, never, late=lambda: True) == (begin,)
    assert climb(speaking, never, late=lambda: False) == (speaking,)


def test_only_the_most_hinted_units_are_tried(circuit_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinate_ascent, "FAR", 2)
    assert set(at_the_start(circuit_pair, UNITS).beginning().parts) <= {" silver", " paper"}
