"""Throughput of KL scoring and of one GCG step."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dormant.search import DivergenceObjective, SearchSettings, gcg
from tests.benchmarks import naive
from tests.benchmarks.conftest import VOCABULARY, BenchmarkPair

LENGTH = 5
CANDIDATES = 64
SUBSET = 8  # candidates that the reference evaluates


def fresh_objective(pair: BenchmarkPair) -> DivergenceObjective:
    """An objective that has visited nothing, its prefixes computed."""
    return DivergenceObjective(pair, pair.prompts)


@pytest.mark.benchmark(group="kl")
def test_kl_scoring(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair) -> None:
    ids = benchmark_pair.candidates(128, LENGTH)
    expected = naive.divergences(benchmark_pair, ids[:SUBSET])
    values = fresh_objective(benchmark_pair).per_probe(ids)
    torch.testing.assert_close(values[:SUBSET].float(), expected, atol=1e-3, rtol=1e-4)
    reference = SUBSET / benchmark_pair.seconds(lambda: naive.divergences(benchmark_pair, ids[:SUBSET]))

    def setup() -> tuple[tuple[DivergenceObjective], dict[str, object]]:
        return (fresh_objective(benchmark_pair),), {}

    def run(objective: DivergenceObjective) -> None:
        benchmark_pair.synchronised(lambda: objective.evaluate(ids))()

    benchmark.pedantic(run, setup=setup, rounds=5, warmup_rounds=1)
    rate = len(ids) / benchmark.stats.stats.median
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate / reference,
        probes=len(benchmark_pair.prompts),
        reference="one at a time",
    )


@pytest.mark.benchmark(group="gcg")
def test_gcg_step(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair) -> None:
    allowed = torch.arange(3, VOCABULARY)
    settings = SearchSettings(length=LENGTH, steps=1, candidates=CANDIDATES)
    start, swapped = benchmark_pair.candidates(1, LENGTH), benchmark_pair.candidates(SUBSET, LENGTH, seed=1)
    slope = fresh_objective(benchmark_pair).gradient(start[0])
    expected = naive.gradient(benchmark_pair, start[0])
    torch.testing.assert_close(slope, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)
    gradient_seconds = benchmark_pair.seconds(lambda: naive.gradient(benchmark_pair, start[0]))
    subset_seconds = benchmark_pair.seconds(lambda: naive.divergences(benchmark_pair, swapped))
    reference = CANDIDATES / (gradient_seconds + subset_seconds * CANDIDATES / SUBSET)

    def setup() -> tuple[tuple[DivergenceObjective], dict[str, object]]:
        return (fresh_objective(benchmark_pair),), {}

    def run(objective: DivergenceObjective) -> None:
        benchmark_pair.synchronised(lambda: gcg(objective, settings, allowed))()

    benchmark.pedantic(run, setup=setup, rounds=5, warmup_rounds=1)
    rate = CANDIDATES / benchmark.stats.stats.median
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate / reference,
        probes=len(benchmark_pair.prompts),
        reference="one at a time",
    )
