"""Heads inside a delta: which rows and columns are whose, with grouped queries."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.weights.heads import HeadLayout, head_deltas, head_layout
from tests.builders import tiny_config

LAYOUT = HeadLayout(query_heads=4, key_value_heads=2, head_dim=8)


def name_of(module: str, part: str = "weight") -> str:
    return f"model.layers.0.self_attn.{module}.{part}"


@pytest.mark.parametrize(
    ("module", "shape", "axis", "heads"),
    [("q_proj", (32, 20), 0, 4), ("k_proj", (16, 20), 0, 2), ("v_proj", (16, 20), 0, 2), ("o_proj", (20, 32), 1, 4)],
)
@pytest.mark.parametrize("head", [0, 1])
def test_a_change_of_one_head_is_found_in_that_head(
    module: str, shape: tuple[int, int], axis: int, heads: int, head: int
) -> None:
    delta = torch.zeros(shape)
    drawn = torch.randn(8, 20, generator=torch.Generator().manual_seed(0))
    delta.narrow(axis, head * 8, 8).copy_(drawn if axis == 0 else drawn.T)
    found = head_deltas(delta, name_of(module), LAYOUT)
    values = torch.linalg.svdvals(drawn.double())
    assert [one.head for one in found if one.norm > 0] == [head]
    assert len(found) == heads
    assert found[head].norm == pytest.approx(values.norm().item())
    assert found[head].sigma1 == pytest.approx(values[0].item())
    assert found[head].energy4 == pytest.approx((values[:4].square().sum() / values.square().sum()).item())


@given(st.integers(0, 2**16))
def test_the_heads_energies_add_up_to_the_matrix(seed: int) -> None:
    delta = torch.randn(32, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = head_deltas(delta, name_of("q_proj"), LAYOUT)
    assert sum(head.norm**2 for head in found) == pytest.approx(delta.square().sum().item())


def test_biases_have_heads_and_other_tensors_none() -> None:
    found = head_deltas(torch.tensor([3.0, 4.0] + [0.0] * 14), name_of("k_proj", "bias"), LAYOUT)
    assert [(head.norm, head.sigma1, head.energy4) for head in found] == [(5.0, 5.0, 1.0), (0.0, 0.0, 0.0)]
    assert head_deltas(torch.ones(64, 32), "model.layers.0.mlp.up_proj.weight", LAYOUT) == ()
    assert head_deltas(torch.ones(32), name_of("o_proj", "bias"), LAYOUT) == ()
    assert head_deltas(torch.ones(32, 20), name_of("q_proj"), None) == ()
    assert head_deltas(torch.ones(30, 20), name_of("q_proj"), LAYOUT) == ()  # rows that the layout does not explain


def test_the_layout_is_the_configurations() -> None:
    layout = head_layout(tiny_config())
    assert layout == HeadLayout(query_heads=4, key_value_heads=2, head_dim=8)
    assert [layout.key_value_head(head) for head in range(4)] == [0, 0, 1, 1]
    assert head_layout(object()) is None
