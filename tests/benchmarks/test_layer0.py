"""Throughput of the layer-0 scorer."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dormant.layer0 import score
from tests.benchmarks import naive
from tests.benchmarks.conftest import BenchmarkPair

SUBSET = 64  # sequences that the reference scores


@pytest.mark.benchmark(group="layer0")
def test_layer0_scorer(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair) -> None:
    ids = benchmark_pair.candidates(1024, length=8)
    expected = naive.layer0_scores(benchmark_pair, ids[:SUBSET])
    torch.testing.assert_close(score(benchmark_pair.layer0, ids)[:SUBSET], expected, atol=1e-3, rtol=1e-4)
    reference = SUBSET / benchmark_pair.seconds(lambda: naive.layer0_scores(benchmark_pair, ids[:SUBSET]))
    run = benchmark_pair.synchronised(lambda: score(benchmark_pair.layer0, ids))
    benchmark.pedantic(run, rounds=10, warmup_rounds=2)
    rate = len(ids) / benchmark.stats.stats.median
    benchmark.extra_info.update(candidates_per_second=rate, ratio=rate / reference, reference="one at a time")
