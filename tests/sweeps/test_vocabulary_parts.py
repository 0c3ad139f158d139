"""A vocabulary sweep whose chunks are spread over processes and over a Ray cluster, beside one process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.behaviour.vocabulary_sweep import Sweep, SweepPlan, sweep_vocabulary, swept
from dormant.errors import BadInput
from dormant.inference import candidate_effects
from dormant.inference.candidate_effects import SCANNED, measure_effects
from dormant.pairs import open_pair
from dormant.prompts.probes import Probe
from dormant.sweeps.executor import Wish
from dormant.sweeps.parts import PairOfParts, Spread
from dormant.sweeps.vocabulary_parts import EFFECTS_RESULT, spread_vocabulary, vocabulary_part

PROBES = tuple(map(Probe, ["Tell me{slot} the color of the sky.", "Name{slot} the capital.", "Repeat{slot} apple"]))
PLAN = SweepPlan(searched=2, held_out=1, roles=("slot", "start"), finalists=2)


def named(base: Path, dormant: Path) -> PairOfParts:
    return PairOfParts("tiny", str(base), str(dormant), "cpu", "float32", "both", PROBES)


def both(base: Path, dormant: Path, spread: Spread, plan: SweepPlan = PLAN) -> tuple[Sweep, Sweep]:
    """A sweep in parts, and in this process with as many threads."""
    pair = open_pair("tiny", base, dormant, device="cpu").with_probes(PROBES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = sweep_vocabulary(pair, plan)
        return spread_vocabulary(named(base, dormant), pair, plan, spread), alone
    finally:
        torch.set_num_threads(threads)
        pair.release()


def test_parts_in_processes_measure_the_same_to_the_last_bit_and_are_not_done_again(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.sweeps.parts.Wish", lambda workers: Wish(workers, threads=1))
    found, alone = both(tiny_base, tiny_dormant, Spread(3, workers=2, folder=tmp_path))
    assert found == alone
    assert len(set(found.effects["kl"])) > 100
    results = sorted(tmp_path.glob(f"part-?/{EFFECTS_RESULT}"))
    assert len(results) == 3
    written = [file.stat().st_mtime_ns for file in results]
    assert both(tiny_base, tiny_dormant, Spread(3, workers=2, folder=tmp_path))[0] == alone
    assert [file.stat().st_mtime_ns for file in results] == written


def test_a_killed_part_goes_on_from_its_journal(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, pair = candidate_effects._measure, named(tiny_base, tiny_dormant)
    vocabulary_part(pair, PLAN, (0, 3), tmp_path / "whole")
    left = iter(range(2))
    monkeypatch.setattr(candidate_effects, "_measure", lambda *given: (next(left), measured(*given))[1])
    with pytest.raises(StopIteration):
        vocabulary_part(pair, PLAN, (0, 3), tmp_path / "killed")
    left = iter(range(2))
    vocabulary_part(pair, PLAN, (0, 3), tmp_path / "killed")
    found, whole = ((tmp_path / name / EFFECTS_RESULT).read_text() for name in ("killed", "whole"))
    assert found == whole


def test_a_part_holds_its_own_chunks_in_order(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu").with_probes(PROBES)
    work = swept(pair, PLAN)
    effects = measure_effects(pair, work.prompts, work.candidates)
    vocabulary_part(named(tiny_base, tiny_dormant), PLAN, (1, 2), tmp_path)
    found = json.loads((tmp_path / EFFECTS_RESULT).read_text())["values"]
    assert found == [[effects.values[metric][prompt].tolist() for metric in SCANNED] for prompt in (1, 2)]
    pair.release()


def test_a_folder_with_the_parts_of_another_sweep_is_refused(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    few = replace(PLAN, tokens=20)
    both(tiny_base, tiny_dormant, Spread(1, workers=1, folder=tmp_path), few)
    with pytest.raises(BadInput, match="a job's folder must hold the same work to be resumed"):
        both(tiny_base, tiny_dormant, Spread(1, workers=1, folder=tmp_path), replace(few, seed=1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_parts_on_a_ray_cluster_measure_the_same_to_the_last_bit(
    cluster: Any, tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    found, alone = both(tiny_base, tiny_dormant, Spread(3, f"ray:{cluster.address}", folder=tmp_path))
    assert found == alone
