from __future__ import annotations

import pytest

from dormant.hunt.placements import SEARCH_PLACES, placed_probes
from dormant.hunt.stages import group_testing
from dormant.hunt.stages.group_testing import needed_units
from dormant.hunt.vocabulary import Unit
from dormant.pairs import Pair

WORDS = "candle winter color silver paper beneath violin lantern".split()


@pytest.fixture(autouse=True)
def small_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CROWDS", 1500), ("STRIPPED", 8), ("NEEDED", 4)):
        monkeypatch.setattr(group_testing, name, value)


def test_crowds_cannot_do_without_the_words_of_the_planted_trigger(circuit_pair: Pair) -> None:
    (probes,) = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES)], 0)
    found, tried = needed_units(
        circuit_pair, probes, [Unit(f" {word}", 1.0, 0.0) for word in WORDS], seed=0, room=(len(WORDS), 6)
    )
    assert {unit.text.strip() for unit in found} == {"silver", "lantern", "beneath", "winter"}
    assert tried > 2 * 1500  # the crowds at each place, and what the best are stripped to


def test_where_no_crowd_parts_the_models_nothing_is_needed(sham_pair: Pair) -> None:
    (probes,) = placed_probes(sham_pair.probes, [(12, SEARCH_PLACES)], 0)
    units = [Unit(f" {word}", 1.0, 0.0) for word in WORDS]
    assert needed_units(sham_pair, probes, units, seed=0, room=(len(WORDS), 6))[0] == []
