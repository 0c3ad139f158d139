from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from dormant.hunt import breeding
from dormant.hunt.breeding import Breeding
from dormant.hunt.places import SEARCH_PLACES, placed_probes
from dormant.hunt.units import Unit
from dormant.journal import Journal
from dormant.pairs import Pair

WORDS = "velvet river apple stone candle mirror hammer ladder wagon violin teapot blanket compass feather".split()


def test_litters_settle_on_the_planted_word_and_their_journal_repeats_it(
    token_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breeding, "BROOD", 128)
    monkeypatch.setattr(breeding, "COMMON", 3)
    monkeypatch.setattr(breeding, "HINTED", 3)
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
