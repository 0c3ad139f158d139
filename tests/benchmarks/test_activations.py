"""What capturing activations costs beside a plain forward pass."""

from __future__ import annotations

import statistics
import time

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dormant.inference.residual_stream import capture
from dormant.report.benchmarks import AVX512_BFLOAT16
from tests.benchmarks.conftest import VOCABULARY, BenchmarkPair, median_seconds

PROMPTS, LENGTH, ROUNDS = 64, 40, 9


@torch.no_grad()
def plain_pass(pair: BenchmarkPair, ids: torch.Tensor) -> torch.Tensor:
    """What a next-token measurement runs: all blocks, and the head at the generation position."""
    logits: torch.Tensor = pair.dormant()(input_ids=ids.to(pair.device), use_cache=False, logits_to_keep=1).logits
    return logits.float().cpu()


@pytest.mark.benchmark(group="capture")
def test_capture_of_all_layers(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair) -> None:
    ids = torch.randint(3, VOCABULARY, (PROMPTS, LENGTH), generator=torch.Generator().manual_seed(0))
    rows = ids.tolist()
    reference = benchmark_pair.synchronised(lambda: plain_pass(benchmark_pair, ids))
    captured = benchmark_pair.synchronised(lambda: capture(benchmark_pair.dormant(), rows))
    for run in (reference, captured):
        run()
    # round by round in turn: a machine that slows down slows both
    ratios = [seconds(captured) / seconds(reference) for _ in range(ROUNDS)]
    benchmark.pedantic(captured, rounds=5, warmup_rounds=1)
    ratio = statistics.median(ratios)
    benchmark.extra_info.update(
        candidates_per_second=PROMPTS / median_seconds(benchmark),
        ratio=1 / ratio,
        at_least=1 / 1.3,
        holds_on=AVX512_BFLOAT16,
        reference="a plain forward pass; the ratio is its time over the capture's",
    )


def seconds(run: object) -> float:
    """How long one run takes."""
    started = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - started
