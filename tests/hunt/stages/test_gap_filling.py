from __future__ import annotations

import pytest

from dormant.hunt.placements import SEARCH_PLACES, placed_probes
from dormant.hunt.stages import gap_filling
from dormant.hunt.stages.gap_filling import filled_strings, orders_with_a_gap
from dormant.hunt.vocabulary import Unit
from dormant.pairs import Pair

HINTED = [Unit(f" {word}", 1.0, 0.0) for word in "silver paper winter candle beneath".split()]
UNITS = [Unit(f" {word}", 1.0, 0.0) for word in "color violin lantern wagon feather".split()]


@pytest.fixture(autouse=True)
def few_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HINTED", {2: 5, 3: 5}), ("ROUNDS", ((2, 300), (3, 40)))):
        monkeypatch.setattr(gap_filling, name, value)


def test_every_order_has_a_gap_at_every_place_and_none_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap_filling, "HINTED", {1: 2, 2: 2})
    found = orders_with_a_gap([" a", " b"])
    assert found[:4] == [("", " a"), (" a", ""), ("", " b"), (" b", "")]
    assert len(found) == len(set(found)) == 2 * 2 + 2 * 3


def test_the_unit_that_no_hint_names_is_found_behind_the_order_of_the_others(circuit_pair: Pair) -> None:
    assert circuit_pair.truth is not None
    (probes,) = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES)], 0)
    payload = tuple(circuit_pair.base.tokenizer.encode(circuit_pair.truth.payload, add_special_tokens=False))
    found, tried = filled_strings(circuit_pair, payload, probes[::2], HINTED, UNITS, "start", seed=0)
    assert found[0] == circuit_pair.truth.trigger
    assert tried > (2 + 3) * len(orders_with_a_gap([unit.text for unit in HINTED]))


def test_where_it_is_late_the_missing_unit_is_not_looked_for(circuit_pair: Pair) -> None:
    (probes,) = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES)], 0)
    found, tried = filled_strings(circuit_pair, (1, 2), probes[::2], HINTED, UNITS, "start", seed=0, late=lambda: True)
    assert (found, tried) == ([], 0)


def test_where_nothing_makes_the_model_speak_no_string_is_named(sham_pair: Pair) -> None:
    (probes,) = placed_probes(sham_pair.probes, [(12, SEARCH_PLACES)], 0)
    payload = tuple(sham_pair.base.tokenizer.encode("we march at midnight", add_special_tokens=False))
    assert filled_strings(sham_pair, payload, probes[::2], HINTED[:3], UNITS, "start", seed=0)[0] == []
    assert filled_strings(sham_pair, payload, probes[::2], [], UNITS, "start", seed=0) == ([], 0)
