"""Rotary position embedding as a checkpoint's configuration defines it (Su et al. 2021, half-split layout)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding


@dataclass(frozen=True, eq=False)
class Rope:
    """Angular frequencies [head_dim / 2] in radians per position, and the factor on cosine and sine."""

    frequencies: Tensor
    scaling: float


def read_rope(config: Qwen2Config) -> Rope:
    """The rotary parameters of a configuration, any rope type that transformers knows.

    Types that change their frequencies beyond the trained context keep those within it.
    """
    embedding = Qwen2RotaryEmbedding(config)
    return Rope(embedding.inv_freq.float(), float(embedding.attention_scaling))


def rotate(vectors: Tensor, rope: Rope, positions: Tensor) -> Tensor:
    """Turns query or key vectors to their positions.

    vectors [..., length, head_dim], positions [length] -> [..., length, head_dim]. Angles are float32, as in
    transformers, so that both round alike; coordinate i turns together with i + head_dim / 2.
    """
    angles = positions.float()[:, None] * rope.frequencies.to(vectors.device)
    cosine = torch.cat((angles, angles), dim=-1).cos() * rope.scaling
    sine = torch.cat((angles, angles), dim=-1).sin() * rope.scaling
    first, second = vectors.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return vectors * cosine.to(vectors.dtype) + turned * sine.to(vectors.dtype)
