from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt import breeding
from dormant.hunt.breeding import Bred, Breeding, merit, said_by_base
from dormant.hunt.places import SEARCH_PLACES, placed_probes
from dormant.hunt.units import Unit
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.search.objectives import Readings

WORDS = "velvet river apple stone candle mirror hammer ladder wagon violin teapot blanket compass feather".split()


@given(st.floats(-9, -0.01))
def test_what_the_base_says_too_counts_against_a_string_by_the_chance_that_it_does(said: float) -> None:
    reading = {"base": Readings(torch.zeros(1, 1, 2), torch.tensor([[said]], dtype=torch.float64))}
    assert float(said_by_base().value(reading, reading)) == pytest.approx(-math.log1p(-math.exp(said)))


def test_of_strings_that_speak_alike_the_shorter_and_then_the_one_that_speaks_elsewhere_is_preferred() -> None:
    assert merit(Bred("a", 1, -0.1, -3.0, 1.0)) > merit(Bred("a b", 2, -0.1, -3.0, 1.0))
    assert merit(Bred("a b", 2, -0.1, -0.1, 1.0)) > merit(Bred("c d", 2, -0.1, -3.0, 1.0))


def test_litters_settle_on_the_planted_word_and_their_journal_repeats_it(
    token_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breeding, "BROOD", 128)
    monkeypatch.setattr(breeding, "COMMON", 3)
    payload = tuple(token_pair.base.tokenizer.encode("golden owl under silver moon", add_special_tokens=False))
    (probes,) = placed_probes(token_pair.probes, [(8, SEARCH_PLACES)], 0)
    units = [Unit(f" {word}", 1.0, 0.0) for word in WORDS]
    with closing(Journal(tmp_path / "j", {})) as journal:
        search = Breeding(token_pair, payload, probes, units, journal=journal)
        while not search.settled and len(search.litters) < 5:
            search.litter()
        search.complete()
    assert search.settled
    assert search.best.text == "velvet"
    with closing(Journal(tmp_path / "j", {})) as journal:
        again = Breeding(token_pair, payload, probes, units, journal=journal, out_of_time=lambda: True)
        assert (again.best, again.settled, again.litter()) == (search.best, True, None)
