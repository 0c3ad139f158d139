"""The noise edge against rounding that was really done."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.weights.rounding_noise import RoundingNoise, noise_edge, rounding_variance


def rounding_error(weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return weights.to(dtype).double() - weights.double()


def edge_of(stored: torch.Tensor) -> float:
    noise = RoundingNoise.of_shape(stored.shape)
    noise.add(stored)
    return noise.edge


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(128, 128), (320, 128), (64, 512)])
def test_rounding_stays_below_its_edge_and_close_to_it(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    largest = []
    for seed in range(10):
        weights = 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        error = rounding_error(weights, dtype)
        largest.append(torch.linalg.svdvals(error)[0].item() / edge_of(weights.to(dtype)))
    assert max(largest) < 1
    assert max(largest) > 0.75


def test_a_row_of_large_weights_raises_the_edge_above_its_own_rounding() -> None:
    weights = 0.05 * torch.randn(256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights[17] *= 40
    largest = torch.linalg.svdvals(rounding_error(weights, torch.bfloat16))[0].item()
    even = noise_edge((256, 256), rounding_variance(weights.bfloat16()).median().item())
    assert even < largest < edge_of(weights.bfloat16())


@given(st.floats(2.0**-10, 2.0**10), st.sampled_from([torch.bfloat16, torch.float16, torch.float32]))
def test_the_variance_is_a_twelfth_of_the_squared_spacing(value: float, dtype: torch.dtype) -> None:
    stored = torch.tensor([value]).to(dtype)
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    spacing = (stored.view(bits) + 1).view(dtype).double() - stored.double()  # the next number that the dtype has
    assert rounding_variance(stored).item() == pytest.approx(spacing.item() ** 2 / 12)


def test_blocks_along_either_axis_add_up_to_the_whole() -> None:
    stored = torch.randn(30, 20, generator=torch.Generator().manual_seed(0)).bfloat16()
    for axis in (0, 1):
        noise, start = RoundingNoise.of_shape(stored.shape), 0
        for block in stored.split(7, axis):
            noise.add(block, start, axis)
            start += block.shape[axis]
        assert noise.edge == pytest.approx(edge_of(stored))


def test_noise_passes_the_edge_of_even_variance_about_once_in_a_thousand() -> None:
    drawn = torch.randn(2000, 40, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    above = (torch.linalg.matrix_norm(drawn, 2) > noise_edge((40, 24), 1.0)).sum()
    assert 0 <= int(above) <= 10  # 2 expected; more than 10 has a chance of one in 100,000
