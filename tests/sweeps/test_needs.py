from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.sweeps.job import Needs
from dormant.sweeps.needs import BESIDE, OF_WEIGHTS, needs_of


@pytest.mark.parametrize(
    ("options", "models"),
    [
        ({}, 2 * 4),
        ({"dtype": "bfloat16"}, 2 * 2),
        ({"residency": "swap"}, 4),
        ({"device": "cpu"}, 2 * 4),
        ({"dtype": "auto"}, 2 * 4),
    ],
)
def test_a_job_needs_its_models_by_dtype_and_residency(
    options: Mapping[str, str], models: int, tiny_base: Path, tiny_dormant: Path
) -> None:
    base = open_checkpoint(tiny_base)
    parameters = sum(base.tensor(name).numel() for name in base.names)
    found = needs_of("hunt", (base, open_checkpoint(tiny_dormant)), options, gpus=False)
    assert found == Needs(int(BESIDE["hunt"]) + int(parameters * models * (1 + OF_WEIGHTS)))


def test_on_a_gpu_it_needs_the_machines_memory_only_on_the_way(tiny_base: Path, tiny_dormant: Path) -> None:
    opened = open_checkpoint(tiny_base), open_checkpoint(tiny_dormant)
    on_gpu, on_cpu = (needs_of("profile", opened, {}, gpus) for gpus in (True, False))
    assert on_gpu.gpu_memory == on_cpu.memory
    assert on_gpu.memory < on_cpu.memory
    assert on_cpu.gpu_memory == 0
    assert needs_of("profile", opened, {"device": "cuda"}, gpus=False).gpu_memory > 0


def test_what_loads_no_model_needs_the_same_at_any_size(tiny_base: Path, tiny_dormant: Path) -> None:
    opened = open_checkpoint(tiny_base), open_checkpoint(tiny_dormant)
    assert needs_of("diff", opened, {}, gpus=True) == Needs(int(BESIDE["diff"]))
    assert needs_of("claims", None, {}, gpus=True) == Needs(int(BESIDE["claims"]))
