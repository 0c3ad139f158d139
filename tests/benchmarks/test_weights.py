"""Throughput of the delta report on one layer of Qwen2-7B's shapes: reading against hashing, spectra against torch's own."""

from __future__ import annotations

import hashlib
import runpy
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.weights.block_krylov import TOLERANCE
from dormant.weights.byte_comparison import compare_values
from dormant.weights.decomposition import delta_matrix, leading_triplets
from dormant.weights.tensor_matching import survey_checkpoint
from tests.benchmarks.conftest import median_seconds

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_synthetic_pair.py"

LARGE = "model.layers.0.mlp.gate_proj.weight"  # 18,944 x 3,584, as 84 of the real model's 339 tensors are

Checkpoints = tuple[Checkpoint, Checkpoint]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Base and dormant, 0.5 GB each; rates do not depend on the number of layers."""
    make_pair = runpy.run_path(str(SCRIPT))["make_pair"]
    base, dormant = make_pair(tmp_path_factory.mktemp("synthetic"), scale=1 / 28)
    return survey_checkpoint(base)[0], survey_checkpoint(dormant)[0]


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def hash_files(checkpoints: Checkpoints) -> None:
    """What a checksum of the same files costs."""
    for file in sorted({stored.file for model in checkpoints for stored in model.catalogue.values()}):
        with file.open("rb") as opened:
            hashlib.file_digest(opened, "sha256")


@pytest.mark.benchmark(group="weights")
def test_norms_and_identity(benchmark: BenchmarkFixture, checkpoints: Checkpoints) -> None:
    base, dormant = checkpoints

    def compare() -> int:
        compared = (compare_values(base.catalogue[name], dormant.catalogue[name]) for name in base.names)
        return sum(not found.identical for found in compared)

    assert compare() == 3  # also warms the file cache for both
    reference = min(seconds(lambda: hash_files(checkpoints)) for _ in range(2))
    benchmark.pedantic(compare, rounds=3)
    size = sum(stored.bytes for model in checkpoints for stored in model.catalogue.values()) / 1e9
    ratio = reference / median_seconds(benchmark)
    benchmark.extra_info.update(
        gigabytes_per_second=size / median_seconds(benchmark), ratio=ratio, reference="SHA-256 of the files"
    )


@pytest.mark.benchmark(group="weights")
def test_spectra(benchmark: BenchmarkFixture, checkpoints: Checkpoints) -> None:
    matrix, expected = delta_matrix(*checkpoints, LARGE), list[torch.Tensor]()
    reference = seconds(lambda: expected.append(torch.linalg.svdvals(matrix)[:16]))
    found = benchmark.pedantic(leading_triplets, args=(matrix,), rounds=3, warmup_rounds=1)
    torch.testing.assert_close(found.values, expected[0], rtol=TOLERANCE, atol=0)
    median = median_seconds(benchmark)
    benchmark.extra_info.update(
        matrices_per_second=1 / median, ratio=reference / median, reference="torch.linalg.svdvals"
    )
