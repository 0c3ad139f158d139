"""Attention heads inside a delta: which rows or columns belong to which head, and how much of the delta each holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from dormant.checkpoints.tensor_names import module_of

HEAD_DIRECTIONS = 4  # directions whose share of a head's energy is kept, as many as the plan's experiment 14 looked at
QUERY_MODULES, KEY_VALUE_MODULES = ("q_proj", "o_proj"), ("k_proj", "v_proj")


@dataclass(frozen=True)
class HeadLayout:
    """How many query and key-value heads a model has, and how wide they are."""

    query_heads: int
    key_value_heads: int
    head_dim: int

    def key_value_head(self, query_head: int) -> int:
        """The key-value head that serves a query head: consecutive query heads share one."""
        return query_head // (self.query_heads // self.key_value_heads)

    def heads(self, module: str) -> int:
        """How many heads a module's matrix is made of; 0 where it has none."""
        if module in QUERY_MODULES:
            return self.query_heads
        return self.key_value_heads if module in KEY_VALUE_MODULES else 0


@dataclass(frozen=True)
class HeadDelta:
    """One head's part of a delta: its rows of q, k, v and of their biases, its columns of o.

    `head` counts query heads in q and o, key-value heads in k and v. `norm` is Frobenius; `energy4` is the share of its
    square in the four leading directions. A bias is its own single direction.
    """

    head: int
    norm: float
    sigma1: float
    energy4: float


def head_layout(config: Any) -> HeadLayout | None:
    """The layout that a configuration states; None where it states none."""
    config = getattr(config, "text_config", config)
    queries = getattr(config, "num_attention_heads", None)
    if not queries:
        return None
    width = getattr(config, "head_dim", None) or config.hidden_size // queries
    return HeadLayout(queries, getattr(config, "num_key_value_heads", None) or queries, width)


def head_deltas(delta: torch.Tensor, name: str, layout: HeadLayout | None) -> tuple[HeadDelta, ...]:
    """Each head's part of an attention module's delta; empty for tensors that are made of no heads.

    delta: [rows, columns] or [rows], of any floating dtype; sums and spectra are float64.
    """
    module = module_of(name)
    count = layout.heads(module) if layout else 0
    axis = 1 if module == "o_proj" and delta.ndim == 2 else 0
    if not layout or not count or delta.shape[axis] != count * layout.head_dim:
        return ()
    if module == "o_proj" and delta.ndim == 1:
        return ()  # the output's bias belongs to no head
    return tuple(_head_deltas(delta.split(layout.head_dim, axis)))


def _head_deltas(blocks: Iterable[torch.Tensor]) -> Iterable[HeadDelta]:
    for head, block in enumerate(blocks):
        wide = block.double()
        sides = wide[None] if wide.ndim == 1 else wide if wide.shape[0] <= wide.shape[1] else wide.T
        squares = torch.linalg.eigvalsh(sides @ sides.T).clamp_min(0.0).flip(0)
        energy = squares.sum().item()
        leading = squares[:HEAD_DIRECTIONS].sum().item()
        yield HeadDelta(head, energy**0.5, squares[0].item() ** 0.5, leading / energy if energy else 0.0)
