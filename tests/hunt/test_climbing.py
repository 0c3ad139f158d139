from __future__ import annotations

import pytest

from dormant.hunt import climbing
from dormant.hunt.climbing import Climbing, Foothold, climb
from dormant.hunt.places import SEARCH_PLACES, placed_probes
from dormant.hunt.units import Unit
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
    spoiled = rung.step(Foothold((" wagon", *trigger[1:]), -99.0, 0.0), 0, 1)
    assert (spoiled.parts, spoiled.speaks) == (trigger, 1.0)
    assert rung.step(Foothold(trigger[1:], -99.0, 0.0), 0, 0).parts == trigger
    assert rung.step(spoiled, 0, 1) == spoiled


def test_a_climb_ends_where_all_prompts_speak_where_no_change_gains_or_where_it_is_late() -> None:
    def step(here: Foothold, at: int, taken: int) -> Foothold:
        asked.append((at, taken))
        better = (*here.parts[:at], "b", *here.parts[at + taken :])
        gains = here.parts == ("a", "a") and (at, taken) == (1, 1)
        return Foothold(better, here.odds + 1, 0.5) if gains else here

    asked: list[tuple[int, int]] = []
    begin = Foothold(("a", "a"), -1.0, 0.0)
    way = climb(begin, step, late=lambda: False)
    assert [one.parts for one in way] == [("a", "a"), ("a", "b")]
    # Both swapped, the second gains; then both again, and only then a unit more at each of three places.
    assert asked == [(0, 1), (1, 1), (0, 1), (1, 1), (0, 0), (1, 0), (2, 0)]
    assert climb(begin, step, late=lambda: True) == (begin,)
    speaking = Foothold(("a",), 3.0, 1.0)
    assert climb(speaking, step, late=lambda: False) == (speaking,)


def test_only_the_most_hinted_units_are_tried(circuit_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climbing, "UNITS", 2)
    assert set(at_the_start(circuit_pair, UNITS).beginning().parts) <= {" silver", " paper"}
