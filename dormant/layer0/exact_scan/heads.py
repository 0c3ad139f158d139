"""A head's vectors of both models before rotation, in the order and precision in which pairs are looked through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.layer0.exact_scan.bounds import Reach, lengths
from dormant.layer0.exact_scan.low_precision import Screen, screen_of
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.tables import build_tables

# Query lines and key tokens of a tile: on a CPU its values stay in the cache until the largest of each line is known; a GPU
# multiplies large ones best (an H200, products alone: 0.90 of its peak at 16,384 x 8,192, 0.74 to 0.86 at smaller ones).
PRODUCT_TILE = {"cpu": (2048, 256), "cuda": (16384, 8192)}
# Numbers of the vectors that exist at a time, where one head's are not more: 64 MB, on a GPU 1 GB.
VECTORS = {"cpu": 1 << 24, "cuda": 1 << 28}
GROUPS = 64  # of keys, at most: what is known of a head at an offset is a number for every query and group
PairAt = tuple[float, int, int]  # value, query token, key token


@dataclass(frozen=True, eq=False)
class Head:
    """One head's vectors before rotation, queries [row, 2 head_dim] and keys, with the tokens that they belong to.

    Queries stand in the order of `tokens`; keys by what a typical query can make of them at most, the largest first, in
    groups, of which `reach` knows what they can give. `screened` are the groups in the precision of `screen`. `own` [token] is
    what every token gives with itself.
    """

    head: int
    tokens: Tensor
    queries: Tensor
    keys: Tensor
    key_tokens: Tensor
    reach: Reach
    own: Tensor
    screen: Screen
    screened: Sequence[Tensor]
    alike: bool


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
    size = group_of(len(tokens), tokens.device)
    of_queries, of_keys = lengths(queries), lengths(keys)
    order = (of_keys @ of_queries.mean(0)).argsort(descending=True, stable=True)
    queries, keys, alike = queries.contiguous(), keys[order], float(of_queries.amax(0) @ of_keys.amax(0)) == 0
    reach, screened = Reach(queries, keys.split(size), scaling), keys.to(screen.dtype).split(size)
    return Head(head, tokens, queries, keys, tokens[order], reach, own, screen, screened, alike)


def heads_at_a_time(pair: Layer0Pair, tokens: int, device: torch.device) -> int:
    """How many heads' vectors are built at once: at least one."""
    return max(1, VECTORS.get(device.type, VECTORS["cpu"]) // max(1, tokens * 4 * pair.base.head_dim))


def tile_of(device: torch.device) -> tuple[int, int]:
    """Lines and key tokens of a tile on a device: twice as many tokens where a product takes half the memory."""
    height, width = PRODUCT_TILE.get(device.type, PRODUCT_TILE["cpu"])
    return height, width * 4 // screen_of(device.type).dtype.itemsize


def group_of(keys: int, device: torch.device) -> int:
    """Keys of a group: a tile's, or more where there would be more than `GROUPS` groups."""
    width = tile_of(device)[1]
    return width * max(1, -(-keys // (width * GROUPS)))
