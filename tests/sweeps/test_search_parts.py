"""A search whose groups of restarts are spread over processes and over a Ray cluster, beside one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.pairs import open_pair
from dormant.prompts.probes import Probe
from dormant.search.restarts import SearchPlan, SearchReport, search_restarts
from dormant.sweeps.executor import Wish
from dormant.sweeps.parts import Spread
from dormant.sweeps.search_parts import GROUP_RESULT, SearchedPair, spread_search

PROBES = tuple(map(Probe, ["Tell me{slot} the color of the sky.", "{slot} What is the capital?", "Repeat{slot} apple"]))
PLAN = SearchPlan(length=2, restarts=4, steps=3, candidates=16, probes=1, held_out=2, seed=0, groups=3)
HINTS = tuple(range(40, 90))


def both(base: Path, dormant: Path, spread: Spread) -> tuple[SearchReport, SearchReport]:
    """A search in groups, spread and in this process, with as many threads."""
    pair = open_pair("tiny", base, dormant, device="cpu").with_probes(PROBES)
    named = SearchedPair("tiny", str(base), str(dormant), "cpu", "float32", "both", PROBES, "red", HINTS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = search_restarts(pair, PLAN, payload="red", hints=torch.tensor(HINTS))
        return spread_search(named, pair, PLAN, spread), alone
    finally:
        torch.set_num_threads(threads)
        pair.release()


def test_groups_in_processes_find_the_same_to_the_last_bit_and_are_not_searched_again(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.sweeps.parts.Wish", lambda workers: Wish(workers, threads=1))
    found, alone = both(tiny_base, tiny_dormant, Spread(3, workers=2, folder=tmp_path))
    assert found == alone
    assert [len(run.curve) for run in found.searches] == [4] * 4
    results = sorted(tmp_path.glob(f"tiny-?/{GROUP_RESULT}"))
    assert len(results) == 3
    written = [file.stat().st_mtime_ns for file in results]
    assert both(tiny_base, tiny_dormant, Spread(3, workers=2, folder=tmp_path))[0] == alone
    assert [file.stat().st_mtime_ns for file in results] == written


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_groups_on_a_ray_cluster_find_the_same_to_the_last_bit(
    cluster: Any, tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    found, alone = both(tiny_base, tiny_dormant, Spread(3, f"ray:{cluster.address}", folder=tmp_path))
    assert found == alone
