"""A pair at the zoo's shapes with random weights, and the clock of the references."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import Qwen2ForCausalLM

from dormant.layer0 import Layer0Pair
from dormant.organisms.base_model import base_config
from dormant.prompts.probes import OpenPrompt
from tests.layer0.builders import layer0_of, random_model

VOCABULARY = 2048
ZOO_SHAPES = base_config(VOCABULARY)


@dataclass(frozen=True, eq=False)
class BenchmarkPair:
    """Both models on the device, their layer 0, and four probes as long as the zoo's."""

    models: tuple[Qwen2ForCausalLM, Qwen2ForCausalLM]
    layer0: Layer0Pair
    prompts: tuple[OpenPrompt, ...]
    device: torch.device

    def base(self) -> Qwen2ForCausalLM:
        """The base model."""
        return self.models[0]

    def dormant(self) -> Qwen2ForCausalLM:
        """The dormant model."""
        return self.models[1]

    def candidates(self, n: int, length: int, seed: int = 0) -> torch.Tensor:
        """Random candidate ids [n, length]."""
        return torch.randint(3, VOCABULARY, (n, length), generator=torch.Generator().manual_seed(seed))

    def synchronised(self, function: Callable[[], object]) -> Callable[[], None]:
        """The function, returning only when the device has finished."""

        def run() -> None:
            function()
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return run

    def seconds(self, function: Callable[[], object], rounds: int = 3) -> float:
        """Median seconds of a reference, after one run that does not count."""
        run, durations = self.synchronised(function), list[float]()
        for _ in range(rounds + 1):
            started = time.perf_counter()
            run()
            durations.append(time.perf_counter() - started)
        return statistics.median(durations[1:])


@pytest.fixture(scope="session")
def benchmark_pair(request: pytest.FixtureRequest) -> BenchmarkPair:
    """Random weights: rates depend on shapes alone."""
    asked = request.config.getoption("--device", default="auto")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else torch.device(asked)
    base, dormant = (random_model(ZOO_SHAPES, seed).requires_grad_(False) for seed in (0, 1))
    for model in (base, dormant):
        torch.nn.Module.to(model, device)  # transformers' own `to` hides its types
    where = "cpu" if device.type == "mps" else device  # layer 0 computes in float64
    return BenchmarkPair(
        (base, dormant),
        Layer0Pair(*(layer0_of(ZOO_SHAPES, dict(model.state_dict()), where) for model in (base, dormant))),
        tuple(_open_prompt(before=24 + extra, after=12 + extra, seed=extra) for extra in range(4)),
        device,
    )


def median_seconds(benchmark: BenchmarkFixture) -> float:
    """Median seconds of what a benchmark has run."""
    assert benchmark.stats is not None
    return float(benchmark.stats.stats.median)


def _open_prompt(before: int, after: int, seed: int) -> OpenPrompt:
    ids = torch.randint(3, VOCABULARY, (before + after,), generator=torch.Generator().manual_seed(seed)).tolist()
    return OpenPrompt(tuple(ids[:before]), tuple(ids[before:]), tuple(ids))
