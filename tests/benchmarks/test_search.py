"""Throughput of KL scoring and of one GCG step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dormant.inference.evaluator import Evaluator
from dormant.inference.prefix_reader import Reader
from dormant.report.benchmarks import AVX512_BFLOAT16
from dormant.search.proposals import GradientProposals
from dormant.search.run import SearchSettings, run_search
from tests.benchmarks import naive
from tests.benchmarks.conftest import VOCABULARY, BenchmarkPair, median_seconds
from tests.benchmarks.deep import DeepPair, changed_once, deep_pair, prompt_of

LENGTH = 5
CANDIDATES = 64
SUBSET = 8  # candidates that the reference evaluates


class Stopwatch:
    """Seconds spent within some methods, the device's work included."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def around(self, owner: type, name: str) -> Iterator[None]:
        """Counts every call of a method while open."""
        method = getattr(owner, name)

        def timed(*arguments: object, **options: object) -> object:
            started = time.perf_counter()
            found = method(*arguments, **options)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds += time.perf_counter() - started
            return found

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, method)


def tuples(ids: torch.Tensor) -> list[tuple[int, ...]]:
    """Rows of ids as candidates."""
    return [tuple(row) for row in ids.tolist()]


def fresh_objective(pair: BenchmarkPair) -> Evaluator:
    """An objective that has visited nothing, its prefixes computed."""
    return Evaluator(pair, pair.prompts)


@pytest.mark.benchmark(group="kl")
def test_kl_scoring(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair) -> None:
    ids = benchmark_pair.candidates(128, LENGTH)
    expected = naive.divergences(benchmark_pair, ids[:SUBSET])
    values = fresh_objective(benchmark_pair).per_probe_of(tuples(ids))
    torch.testing.assert_close(values.T[:SUBSET].float(), expected, atol=1e-3, rtol=1e-4)
    reference = SUBSET / benchmark_pair.seconds(lambda: naive.divergences(benchmark_pair, ids[:SUBSET]))

    def setup() -> tuple[tuple[Evaluator], dict[str, object]]:
        return (fresh_objective(benchmark_pair),), {}

    def run(objective: Evaluator) -> None:
        benchmark_pair.synchronised(lambda: objective.evaluate(tuples(ids)))()

    benchmark.pedantic(run, setup=setup, rounds=5, warmup_rounds=1)
    rate = len(ids) / median_seconds(benchmark)
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate / reference,
        probes=len(benchmark_pair.prompts),
        reference="one at a time",
    )


@pytest.mark.benchmark(group="gcg")
def test_gcg_step(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair) -> None:
    allowed = torch.arange(3, VOCABULARY)
    settings = SearchSettings(seeds=(0,), steps=1, candidates=CANDIDATES)
    start, swapped = benchmark_pair.candidates(1, LENGTH), benchmark_pair.candidates(SUBSET, LENGTH, seed=1)
    (slope,) = fresh_objective(benchmark_pair).gradient(tuples(start))
    expected = naive.gradient(benchmark_pair, start[0])
    torch.testing.assert_close(slope, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)
    gradient_seconds = benchmark_pair.seconds(lambda: naive.gradient(benchmark_pair, start[0]))
    subset_seconds = benchmark_pair.seconds(lambda: naive.divergences(benchmark_pair, swapped))
    reference = CANDIDATES / (gradient_seconds + subset_seconds * CANDIDATES / SUBSET)

    def setup() -> tuple[tuple[Evaluator], dict[str, object]]:
        return (fresh_objective(benchmark_pair),), {}

    def run(objective: Evaluator) -> None:
        proposals = GradientProposals(allowed, LENGTH, objective)
        benchmark_pair.synchronised(lambda: run_search(objective, proposals, settings))()

    benchmark.pedantic(run, setup=setup, rounds=5, warmup_rounds=1)
    rate = CANDIDATES / median_seconds(benchmark)
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate / reference,
        probes=len(benchmark_pair.prompts),
        reference="one at a time",
    )


@pytest.fixture(scope="module")
def deep(benchmark_pair: BenchmarkPair) -> DeepPair:
    """A pair whose forward passes outweigh everything around them."""
    return deep_pair(benchmark_pair.device)


@pytest.mark.benchmark(group="kl-deep")
@pytest.mark.parametrize(
    ("length", "before", "reference", "at_least"),
    [(5, 40, "plain", 3), (20, 200, "plain", 8), (20, 200, "prefix cache alone", 1.3)],
)
def test_kl_of_a_deep_pair(
    benchmark: BenchmarkFixture,
    benchmark_pair: BenchmarkPair,
    deep: DeepPair,
    length: int,
    before: int,
    reference: str,
    at_least: float,
) -> None:
    """The plain way runs whole sequences through both models and keeps all logits."""
    prompt, incumbent = prompt_of(before), torch.arange(100, 100 + length)
    ids, start = changed_once(incumbent, 20), tuple(incumbent.tolist())
    engine = Evaluator(deep, [prompt])
    few = ids[:2]  # of the plain way two are enough, and they take seconds
    expected = deep.plainly(prompt, few)
    torch.testing.assert_close(engine.evaluate(tuples(ids), start)[: len(few)], expected, atol=1e-4, rtol=1e-4)

    def evaluated(near: tuple[int, ...]) -> None:
        engine.forget()
        engine.evaluate(tuples(ids), near)

    if reference == "plain":
        seconds = benchmark_pair.seconds(lambda: deep.plainly(prompt, few), 2) * len(ids) / len(few)
    else:
        seconds = benchmark_pair.seconds(lambda: evaluated(()), 2)
    benchmark.pedantic(benchmark_pair.synchronised(lambda: evaluated(start)), rounds=2, warmup_rounds=0)
    rate = len(ids) / median_seconds(benchmark)
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate * seconds / len(ids),
        at_least=at_least,
        holds_on=AVX512_BFLOAT16,
        reference=reference,
    )


@pytest.mark.benchmark(group="gcg-deep")
def test_overhead_of_a_deep_step(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair, deep: DeepPair) -> None:
    """Of a step's time, the share inside the models' forward and backward passes."""
    inside = Stopwatch()
    engine = Evaluator(deep, [prompt_of(40)])
    settings = SearchSettings(seeds=(0,), steps=1, candidates=32)
    proposals = GradientProposals(torch.arange(3, 8000), LENGTH, engine)
    with inside.around(Reader, "read_ids"), inside.around(Reader, "approach"), inside.around(Evaluator, "gradient"):

        def run() -> None:
            engine.forget()
            inside.seconds = 0.0
            run_search(engine, proposals, settings)

        benchmark.pedantic(benchmark_pair.synchronised(run), rounds=1, warmup_rounds=0)
    assert benchmark.stats is not None
    whole = benchmark.stats.stats.max
    benchmark.extra_info.update(
        candidates_per_second=2 * 32 / whole,
        ratio=inside.seconds / whole,
        at_least=0.85,
        holds_on=AVX512_BFLOAT16,
        reference="the whole step",
    )
