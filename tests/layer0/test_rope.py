"""Rotary position embedding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2RotaryEmbedding,
    apply_rotary_pos_emb,
)

from dormant.layer0 import read_rope, rotate


def config(head_dim: int, theta: float, **rope: object) -> Qwen2Config:
    parameters = {"rope_type": "default", "rope_theta": theta} | rope
    return Qwen2Config(
        hidden_size=head_dim,
        num_attention_heads=1,
        num_key_value_heads=1,
        rope_parameters=parameters,
    )


@given(
    half=st.integers(1, 32),
    theta=st.sampled_from([1e2, 1e4, 1e6]),
    positions=st.tuples(*[st.integers(0, 40)] * 2),
    shift=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
def test_a_product_depends_on_relative_position_only(
    half: int, theta: float, positions: tuple[int, int], shift: int, seed: int
) -> None:
    vectors = torch.randn(2, 2 * half, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rope = read_rope(config(2 * half, theta))
    here, there = (rotate(vectors, rope, torch.tensor(positions) + move) for move in (0, shift))
    torch.testing.assert_close(here[0] @ here[1], there[0] @ there[1], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(here.norm(dim=-1), vectors.norm(dim=-1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "rope",
    [{}, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "yarn", "factor": 4.0}],
    ids=["default", "linear", "yarn"],
)
def test_rotation_is_transformers_own(rope: dict[str, object]) -> None:
    settings = config(16, 1e6, **rope)
    vectors = torch.randn(1, 3, 50, 16, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(50)
    cosine, sine = Qwen2RotaryEmbedding(settings)(vectors, positions[None])
    expected, _ = apply_rotary_pos_emb(vectors, vectors, cosine, sine)
    torch.testing.assert_close(rotate(vectors, read_rope(settings), positions), expected)
