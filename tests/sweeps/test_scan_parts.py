"""An exact scan spread over processes and over a Ray cluster, beside one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dormant.catalogue import pairs_of_set
from dormant.errors import BadInput
from dormant.layer0.exact_scan.scan import Scan, ScanPlan, scan
from dormant.layer0.pair import layer0_of
from dormant.pairs import open_pair
from dormant.progress import Progress
from dormant.prompts.token_filter import allowed_tokens
from dormant.sweeps.parts import Spread
from dormant.sweeps.scan_parts import PART_RESULT, ScannedPair, spread_scan

PLAN = ScanPlan(range(6), top=400)


def both(spread: Spread, progress: Progress = lambda done, total, remark="": None) -> tuple[Scan, Scan]:
    """A zoo pair's scan in parts, and in this process."""
    known = pairs_of_set("all")["circuit"]
    pair = open_pair("circuit", known.base, str(known.dormant), device="cpu")
    layer0, tokens = layer0_of(pair), allowed_tokens(pair.base.tokenizer)
    scanned = ScannedPair("circuit", known.base, str(known.dormant), "cpu")
    return spread_scan(scanned, layer0, PLAN, len(tokens), spread, progress), scan(layer0, PLAN, tokens)


def test_parts_in_processes_find_the_same_to_the_last_bit_and_are_not_done_again(tmp_path: Path) -> None:
    told = list[tuple[int, int]]()
    for _ in range(2):
        found, alone = both(
            Spread(3, workers=2, folder=tmp_path), lambda done, total, remark="": told.append((done, total))
        )
        assert (found.top, found.peaks, found.pairs) == (alone.top, alone.peaks, alone.pairs)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len(list(tmp_path.glob(f"part-*/{PART_RESULT}"))) == 3


def test_a_folder_with_the_parts_of_another_scan_is_refused(tmp_path: Path) -> None:
    both(Spread(1, workers=1, folder=tmp_path))
    with pytest.raises(BadInput, match="a job's folder must hold the same work to be resumed"):
        both(Spread(2, workers=1, folder=tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_parts_on_a_ray_cluster_find_the_same_to_the_last_bit(cluster: Any, tmp_path: Path) -> None:
    found, alone = both(Spread(4, f"ray:{cluster.address}", folder=tmp_path))
    assert (found.top, found.peaks, found.pairs) == (alone.top, alone.peaks, alone.pairs)
