"""Throughput of the layer-0 scorer, the exact scan and beam search."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import Qwen2ForCausalLM

from dormant.layer0 import Layer0Pair, build_tables, score
from dormant.layer0.beam import BeamSettings, beam_search
from dormant.layer0.exact_scan.scan import ScanPlan, scan
from dormant.organisms.base_model import base_config
from dormant.report.benchmarks import AVX512_BFLOAT16
from tests.benchmarks import naive
from tests.benchmarks.conftest import BenchmarkPair, median_seconds
from tests.layer0.builders import layer0_of, random_model

SUBSET = 64  # sequences that the reference scores one at a time
LARGE = {"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4, "head_dim": 128,
         "intermediate_size": 8, "num_hidden_layers": 1}  # Qwen2-7B's layer 0  # fmt: skip
LARGE_VOCABULARY = 8192


@pytest.mark.benchmark(group="layer0")
@pytest.mark.parametrize(("reference", "at_least"), [("one at a time", 150), ("one batch", 3)])
def test_layer0_scorer(
    benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair, reference: str, at_least: int
) -> None:
    ids, models = benchmark_pair.candidates(1024, length=8), benchmark_pair.models
    tables = build_tables(benchmark_pair.layer0)
    if reference == "one batch":
        many = ids.to(benchmark_pair.device)
        expected, seconds = (
            naive.layer0_batch(models, many),
            benchmark_pair.seconds(lambda: naive.layer0_batch(models, many), 10),
        )
    else:
        expected = naive.layer0_scores(benchmark_pair, ids[:SUBSET])
        seconds = benchmark_pair.seconds(lambda: naive.layer0_scores(benchmark_pair, ids[:SUBSET]))
    torch.testing.assert_close(score(tables, ids)[: len(expected)], expected, atol=1e-3, rtol=1e-4)
    run = benchmark_pair.synchronised(lambda: score(tables, ids))
    benchmark.pedantic(run, rounds=20, warmup_rounds=3)
    rate = len(ids) / median_seconds(benchmark)
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate * seconds / len(expected),
        at_least=at_least,
        holds_on=AVX512_BFLOAT16,
        reference=reference,
    )


@pytest.fixture(scope="module")
def large_models(benchmark_pair: BenchmarkPair) -> tuple[Qwen2ForCausalLM, Qwen2ForCausalLM]:
    """Random models with Qwen2-7B's layer 0 and nothing else of size."""
    config = base_config(LARGE_VOCABULARY)
    config.update({**LARGE, "layer_types": ["full_attention"]})
    base, dormant = (random_model(config, seed).requires_grad_(False) for seed in (0, 1))
    for model in (base, dormant):
        torch.nn.Module.to(model, benchmark_pair.device)
    return base, dormant


@pytest.mark.benchmark(group="layer0-large")
def test_layer0_scorer_at_the_shapes_of_a_7b_model(
    benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair, large_models: tuple[Qwen2ForCausalLM, Qwen2ForCausalLM]
) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, LARGE_VOCABULARY, (128, 8), generator=generator)
    device = benchmark_pair.device
    pair = Layer0Pair(*(layer0_of(model.config, dict(model.state_dict()), device) for model in large_models))
    tables = build_tables(pair, dtype=torch.float32)
    here = ids.to(device)
    expected = naive.layer0_batch(large_models, here)
    torch.testing.assert_close(score(tables, ids), expected, atol=1e-2 * float(expected.mean()), rtol=1e-3)
    seconds = benchmark_pair.seconds(lambda: naive.layer0_batch(large_models, here))
    benchmark.pedantic(benchmark_pair.synchronised(lambda: score(tables, ids)), rounds=10, warmup_rounds=2)
    rate = len(ids) / median_seconds(benchmark)
    benchmark.extra_info.update(
        candidates_per_second=rate,
        ratio=rate * seconds / len(ids),
        at_least=20,
        holds_on=AVX512_BFLOAT16,
        reference="one batch",
    )


@pytest.mark.benchmark(group="layer0-scan")
@pytest.mark.parametrize(
    ("vocabulary", "head_dim", "heads", "offsets"), [(8192, 16, 8, 6), (8192, 128, 2, 2), (2048, 16, 8, 16)]
)
def test_exact_scan(
    benchmark: BenchmarkFixture,
    benchmark_pair: BenchmarkPair,
    vocabulary: int,
    head_dim: int,
    heads: int,
    offsets: int,
) -> None:
    config, device = base_config(vocabulary), benchmark_pair.layer0.base.embedding.device
    config.update({"num_hidden_layers": 1, "head_dim": head_dim, "num_attention_heads": heads,
                   "num_key_value_heads": 1, "layer_types": ["full_attention"]})  # fmt: skip
    pair = Layer0Pair(*(layer0_of(config, dict(random_model(config, seed).state_dict()), device) for seed in (0, 1)))
    matrices = [torch.randn(2048, 2048, device=device) for _ in range(2)]
    seconds = benchmark_pair.seconds(lambda: matrices[0] @ matrices[1], rounds=10)
    run = benchmark_pair.synchronised(lambda: scan(pair, ScanPlan(range(1, offsets + 1))))
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    operations = heads * offsets * vocabulary**2 * 2 * 2 * head_dim  # vectors of 2 head_dim, multiply and add
    rate = operations / median_seconds(benchmark)
    benchmark.extra_info.update(
        gigaflops=rate / 1e9,
        ratio=rate * seconds / (2 * 2048**3),
        at_least=0.6,
        holds_on=AVX512_BFLOAT16,
        reference="one plain matrix product",
    )


@pytest.mark.benchmark(group="layer0-beam")
def test_a_beams_step_grows_linearly_with_length(benchmark: BenchmarkFixture, benchmark_pair: BenchmarkPair) -> None:
    pair = benchmark_pair.layer0
    seeds, settings = torch.arange(100), BeamSettings(width=100, length=10)
    beam_search(pair, replace(settings, length=3), seeds)
    runs = [beam_search(pair, settings, seeds) for _ in range(3)]
    steps = [min(run[length - 1].seconds for run in runs) for length in range(1, 11)]
    benchmark.pedantic(lambda: beam_search(pair, settings, seeds), rounds=3, warmup_rounds=0)
    # Linear: from 5 to 10 tokens a step's rows double, so its time at most doubles, whatever a step costs besides.
    benchmark.extra_info.update(
        ratio=steps[9] / steps[4],
        at_most=2.0,
        holds_on=AVX512_BFLOAT16,
        reference="the step to length 5",
        seconds_by_length=steps,
    )
