"""What the precisions that all pairs are looked through in may get wrong."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.layer0.exact_scan.low_precision import BFLOAT16, FLOAT32, Screen, largest_of_lines, screen_of


@pytest.mark.parametrize("screen", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@given(seed=st.integers(0, 10**6), width=st.integers(1, 300), scale=st.sampled_from([1e-6, 1.0, 1e4]))
def test_a_lines_largest_product_lies_within_the_margin(screen: Screen, seed: int, width: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, 16, width, generator=generator)
    queries *= scale
    found = torch.empty(16, dtype=screen.order)
    largest_of_lines(queries.to(screen.dtype) @ keys.to(screen.dtype).T, screen, found)
    true = (queries.double() @ keys.double().T).abs().amax(1)
    margin = screen.margin(float(queries.norm(dim=1).max() * keys.norm(dim=1).max()), float(true.max()))
    assert float((found.view(screen.dtype).double() - true).abs().max()) <= margin


def test_a_gpu_is_screened_in_float32() -> None:
    assert screen_of("cuda") == FLOAT32
    assert screen_of("cpu") in (FLOAT32, BFLOAT16)
