"""Throughput of the vocabulary sweep and of the phrase scan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dormant.inference.candidate_effects import measure_effects
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, TokenIds
from dormant.report.benchmarks import AVX512_BFLOAT16
from tests.benchmarks.conftest import VOCABULARY, BenchmarkPair, median_seconds

SUBSET = 8  # candidates that the reference evaluates
BEFORE, AFTER = 29, 6  # ids around a slot at the end of the zoo's questions


def random_prompt(seed: int = 0) -> OpenPrompt:
    ids = torch.randint(3, VOCABULARY, (BEFORE + AFTER,), generator=torch.Generator().manual_seed(seed)).tolist()
    return OpenPrompt(tuple(ids[:BEFORE]), tuple(ids[BEFORE:]), tuple(ids))


@torch.no_grad()
def one_by_one(pair: BenchmarkPair, prompt: OpenPrompt, candidates: list[TokenIds]) -> torch.Tensor:
    """Both metrics of every candidate, whole prompts one by one: [metric, candidate]."""
    plain = [
        model(torch.tensor([prompt.plain], device=pair.device)).logits[0, -1] for model in (pair.dormant(), pair.base())
    ]
    rows = []
    for candidate in candidates:
        ids = torch.tensor([prompt.close(candidate).ids], device=pair.device)
        dormant, base = (model(ids).logits[0, -1] for model in (pair.dormant(), pair.base()))
        moved = kl_divergence(dormant, plain[0]) - kl_divergence(base, plain[1])
        rows.append(torch.stack([kl_divergence(dormant, base) - kl_divergence(*plain), moved]))
    return torch.stack(rows, dim=1).cpu()


@pytest.mark.benchmark(group="scan")
@pytest.mark.parametrize(("count", "lengths"), [(1024, (1, 1)), (512, (3, 8))], ids=["sweep", "phrases"])
def test_scan(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair, count: int, lengths: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(1)
    sizes = torch.randint(lengths[0], lengths[1] + 1, (count,), generator=random).tolist()
    candidates = [tuple(torch.randint(3, VOCABULARY, (size,), generator=random).tolist()) for size in sizes]
    pair, prompt = cast(Pair, SimpleNamespace(models=benchmark_pair, name="benchmark")), random_prompt()
    effects = measure_effects(pair, [prompt], candidates)
    values = torch.stack([effects.values[metric][0, :SUBSET] for metric in ("kl", "difference-in-differences")])
    torch.testing.assert_close(values, one_by_one(benchmark_pair, prompt, candidates[:SUBSET]), atol=1e-4, rtol=0)
    reference = SUBSET / benchmark_pair.seconds(lambda: one_by_one(benchmark_pair, prompt, candidates[:SUBSET]))
    run = benchmark_pair.synchronised(lambda: measure_effects(pair, [prompt], candidates))
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    rate = count / median_seconds(benchmark)
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate / reference,
        at_least=5,
        holds_on=AVX512_BFLOAT16,
        reference="one at a time",
    )
