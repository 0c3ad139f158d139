"""A head's vectors of both models before rotation, in the order and precision in which pairs are looked through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.layer0.pair import Layer0Pair
from dormant.layer0.screening import Screen, screen_of
from dormant.layer0.tables import build_tables

# Query lines and key tokens of a tile: on a CPU its values stay in the cache until the largest of each line is known; a GPU
# multiplies large ones best (an H200, products alone: 0.90 of its peak at 16,384 x 8,192, 0.74 to 0.86 at smaller ones).
TILE = {"cpu": (2048, 256), "cuda": (16384, 8192)}
# Numbers of the vectors that exist at a time, where one head's are not more: 64 MB, on a GPU 1 GB.
VECTORS = {"cpu": 1 << 24, "cuda": 1 << 28}
Place = tuple[float, int, int]  # value, query token, key token


@dataclass(frozen=True, eq=False)
class Head:
    """One head's vectors before rotation, queries [row, 2 head_dim] and keys, with the tokens that they belong to.

    Where a product takes several stripes, both stand by falling length, which no offset changes, and the lengths [row] beside
    them; else in the order of the tokens. `screened` are the keys in the precision of `screen`. `own` [token] is what every
    token gives with itself; no product exceeds `bound`.
    """

    head: int
    tokens: Tensor
    queries: Tensor
    query_tokens: Tensor
    query_lengths: list[float]
    keys: Tensor
    key_tokens: Tensor
    key_lengths: list[float]
    own: Tensor
    bound: float
    screen: Screen
    screened: Tensor

    @property
    def alike(self) -> bool:
        """Whether the models are alike here, so that no product can be anything but zero."""
        return self.bound == 0


def head_vectors(pair: Layer0Pair, tokens: Tensor, heads: Sequence[int]) -> list[Head]:
    """The vectors of some heads, their tables built at once."""
    every = list(heads) == list(range(pair.base.heads))
    tables = build_tables(pair, tokens, None if every else heads, torch.float32)
    share = tables.queries.shape[2]
    return [
        _head(
            head, tokens, tables.queries[at // share, :, at % share], tables.keys[at // share], tables.rope.scaling**2
        )
        for at, head in enumerate(heads)
    ]


def _head(head: int, tokens: Tensor, queries: Tensor, keys: Tensor, scaling: float) -> Head:
    own, screen = (queries * keys).sum(-1) * scaling, screen_of(tokens.device.type)
    bound = scaling * _largest_product(queries, keys)
    if len(tokens) <= tile_of(tokens.device)[0]:  # one stripe: nothing that could be left out
        query_rows = key_rows = torch.arange(len(tokens), device=tokens.device)
        query_lengths, key_lengths = list[float](), list[float]()
    else:
        query_rows, query_lengths = _longest_first(queries, scaling)
        key_rows, key_lengths = _longest_first(keys)
    keys = keys[key_rows]
    return Head(
        head, tokens, queries[query_rows], tokens[query_rows], query_lengths, keys, tokens[key_rows], key_lengths, own, bound,
        screen, keys.to(screen.dtype),
    )  # fmt: skip


def _largest_product(queries: Tensor, keys: Tensor) -> float:
    """What no product exceeds: the sum, over both halves of the vectors, of the largest lengths' product."""
    lengths = (torch.linalg.vector_norm(half, dim=-1).max() for part in (queries, keys) for half in part.chunk(2, -1))
    first_query, second_query, first_key, second_key = (float(length) for length in lengths)
    return first_query * first_key + second_query * second_key


def heads_at_a_time(pair: Layer0Pair, tokens: int, device: torch.device) -> int:
    """How many heads' vectors are built at once: at least one."""
    return max(1, VECTORS.get(device.type, VECTORS["cpu"]) // max(1, tokens * 4 * pair.base.head_dim))


def own_pairs(head: Head, removed: float, top: int) -> list[Place]:
    """Offset 0: every token with itself."""
    values, rows = (head.own - removed).abs().topk(min(top, len(head.own)))
    tokens = head.tokens[rows].tolist()
    return list(zip(values.tolist(), tokens, tokens, strict=True))


def tile_of(device: torch.device) -> tuple[int, int]:
    """Lines and key tokens of a tile on a device: twice as many tokens where a product takes half the memory."""
    height, width = TILE.get(device.type, TILE["cpu"])
    return height, width * 4 // screen_of(device.type).dtype.itemsize


def _longest_first(vectors: Tensor, scaling: float = 1.0) -> tuple[Tensor, list[float]]:
    """The rows of the vectors by falling length, and the lengths times a factor."""
    lengths, rows = torch.linalg.vector_norm(vectors, dim=-1).sort(descending=True, stable=True)
    return rows, (lengths * scaling).tolist()
