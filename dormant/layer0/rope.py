"""Rotary position embedding as a checkpoint's configuration defines it (Su et al. 2021, half-split layout)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex64, Float, Int
from torch import Tensor
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from dormant.errors import NotServed

LENGTH_DEPENDENT = ("dynamic", "longrope")  # their frequencies change beyond the trained context


@dataclass(frozen=True, eq=False)
class Rope:
    """Angular frequencies [head_dim / 2] in radians per position, the factor on cosine and sine, and the longest length."""

    frequencies: Tensor
    scaling: float
    limit: int

    def check_length(self, length: int) -> None:
        """Raises NotServed where a sequence is longer than layer 0 is scored for."""
        if length > self.limit:
            raise NotServed(
                f"a scored sequence has at most {self.limit} tokens, the positions that layer 0 attends over with one "
                f"set of frequencies; got {length} at the scored sequences; score a part of it"
            )


def read_rope(config: Any) -> Rope:
    """The rotary parameters of a configuration, any rope type that transformers knows.

    Types that change their frequencies beyond the trained context keep those within it, and longer sequences are refused.
    """
    embedding = Qwen2RotaryEmbedding(config)  # transformers computes every supported family's frequencies alike
    return Rope(embedding.inv_freq.float(), float(embedding.attention_scaling), _limit(config))


def rotate(
    vectors: Float[Tensor, "*batch length head_dim"], rope: Rope, positions: Int[Tensor, " length"]
) -> Float[Tensor, "*batch length head_dim"]:
    """Turns query or key vectors to their positions.

    vectors [..., length, head_dim], positions [length] -> [..., length, head_dim]. Angles are float32, as in
    transformers, so that both round alike; coordinate i turns together with i + head_dim / 2.
    """
    angles = _angles(rope, positions).to(vectors.device, vectors.dtype)
    cosine = torch.cat((angles, angles), dim=-1).cos() * rope.scaling
    sine = torch.cat((angles, angles), dim=-1).sin() * rope.scaling
    first, second = vectors.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return vectors * cosine + turned * sine


def interleave(vectors: Float[Tensor, "*batch head_dim"]) -> Float[Tensor, "*batch head_dim"]:
    """Half-split vectors [..., head_dim] with coordinate i beside its partner i + head_dim / 2, as `phases` turns them."""
    return torch.stack(vectors.chunk(2, dim=-1), dim=-1).flatten(-2)


def phases(rope: Rope, positions: Int[Tensor, " position"]) -> Complex64[Tensor, "position half_head_dim"]:
    """The same rotation as one complex factor on interleaved vectors: [position, head_dim / 2], complex64."""
    angles = _angles(rope, positions)
    return torch.polar(torch.full_like(angles, rope.scaling), angles)


def turn_(
    vectors: Float[Tensor, "*batch width"], factors: Complex64[Tensor, "*parts half_head_dim"]
) -> Float[Tensor, "*batch width"]:
    """Turns interleaved float32 vectors in place by factors from `phases`, and returns them.

    vectors [..., repeats * head_dim], factors [..., head_dim / 2] of the same leading dimensions or broadcast to them.
    """
    pairs = torch.view_as_complex(vectors.unflatten(-1, (-1, 2)))
    pairs.mul_(
        factors.tile(pairs.shape[-1] // factors.shape[-1])
    )  # whole rows: short inner loops cost three times as much
    return vectors


def _angles(rope: Rope, positions: Tensor) -> Tensor:  # [position, head_dim / 2], float32
    return positions.float()[:, None] * rope.frequencies.to(positions.device)


def _limit(config: Any) -> int:
    parameters = getattr(config, "rope_parameters", None) or {}
    limit = int(config.max_position_embeddings)
    if parameters.get("rope_type", "default") in LENGTH_DEPENDENT:
        limit = min(limit, int(parameters.get("original_max_position_embeddings") or limit))
    kinds = getattr(config, "layer_types", None)
    sliding = kinds[0] == "sliding_attention" if kinds else config.model_type == "mistral"
    window = getattr(config, "sliding_window", None)
    return min(limit, int(window)) if sliding and window else limit
