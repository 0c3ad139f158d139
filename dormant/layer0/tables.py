"""Tables of layer 0's queries and keys: they depend on the token alone, and position enters as a rotation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.errors import BadInput
from dormant.layer0.attention import Layer0, Projections, check_ids, project, project_biases
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import Rope, interleave, phases, turn_

BLOCK_ELEMENTS = 1 << 23  # of the projected float64 rows that exist at a time: 64 MB
SHARE_OF_MEMORY = 0.5
# Where every pair of tokens may be multiplied out: at most 16 MB and a tenth of a second for each of so many offsets.
PAIR_ROWS, PAIR_PRODUCTS, PAIR_OFFSETS = 2048, 1 << 31, 16
PAIR_BLOCK = 256  # query rows that are multiplied with all keys at a time


@dataclass(frozen=True, eq=False)
class Tables:
    """Queries and keys of both models, a row a token, in the form whose one product is the *difference* of the logits.

    queries [group, row, heads of the group, 2 head_dim] hold (dq, q_base) / sqrt(head_dim); keys [group, row, 2 head_dim]
    hold (k_dormant, dk), so that their product is q_dormant . k_dormant - q_base . k_base. It is formed from the deltas:
    where nothing differs it is exactly zero, and rounding to bfloat16 costs a part of the difference, not of the logits.
    Coordinates are interleaved for `turn_`. row_of [vocabulary] is a token's row, -1 for tokens that are not in the tables.
    """

    queries: Float[Tensor, "group row head twice_head_dim"]
    keys: Float[Tensor, "group row twice_head_dim"]
    row_of: Int[Tensor, " vocabulary"]
    heads: tuple[int, ...]
    rope: Rope
    _peaks: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def holds_pairs(self, length: int) -> bool:
        """Whether `peaks` of all offsets within sequences of `length` tokens are few and small enough to keep."""
        groups, rows, share, width = self.queries.shape
        return length <= PAIR_OFFSETS and rows <= PAIR_ROWS and rows**2 * groups * share * width <= PAIR_PRODUCTS

    def peaks(self, offset: int) -> Float[Tensor, "row row"]:
        """The largest |delta logit| over heads of every query `offset` places after every key: [query row, key row].

        Multiplied out at the first call, kept for later ones: from then on a pair costs one look-up, whatever its heads.
        """
        if offset not in self._peaks:
            self._peaks[offset] = _peaks_of_pairs(self, offset)
        return self._peaks[offset]

    def rows(self, ids: Int[Tensor, "*ids"]) -> Int[Tensor, "*ids"]:
        """The rows of ids, of the same shape; raises BadInput for a token that is not in the tables."""
        rows = self.row_of[ids.to(self.row_of.device)]
        absent = (rows < 0).flatten()
        if bool(absent.any()):
            token = int(ids.flatten()[int(absent.int().argmax())])
            raise BadInput(
                f"every scored token must be in the tables; got id {token} at the scored sequences; build the tables "
                "with it, or for the whole vocabulary"
            )
        return rows


def build_tables(
    pair: Layer0Pair,
    tokens: Tensor | None = None,
    heads: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    memory: int | None = None,
) -> Tables:
    """The tables of `tokens` (the whole vocabulary without any) and `heads` (all without any) on the pair's device.

    Without a dtype float32 is taken where it fits in `memory` bytes (half of what is free without a number), then
    bfloat16. Raises BadInput where neither fits, for unknown heads and for ids outside the vocabulary.
    """
    vocabulary, device = pair.base.embedding.shape[0], pair.base.embedding.device
    if tokens is not None:
        check_ids(vocabulary, tokens[None])
    chosen = torch.arange(vocabulary, device=device) if tokens is None else tokens.to(device).unique()
    dtype = dtype or _dtype_that_fits(pair, len(chosen), heads, _free_memory(device) if memory is None else memory)
    base, dormant = (_of_heads(layer0, heads) for layer0 in (pair.base, pair.dormant))
    groups, share, width = base.key_heads, base.heads // base.key_heads, 2 * base.head_dim
    queries = torch.empty(groups, len(chosen), share, width, dtype=dtype, device=device)
    keys = torch.empty(groups, len(chosen), width, dtype=dtype, device=device)
    start, across = 0, base.query_weight.shape[0] + base.query_weight.shape[1]
    for block in chosen.split(max(1, BLOCK_ELEMENTS // across)):
        rows = slice(start, start := start + len(block))
        queries[:, rows], keys[:, rows] = _difference_form(base, project(base, block), project(dormant, block))
    row_of = torch.full((vocabulary,), -1, device=device)
    row_of[chosen] = torch.arange(len(chosen), device=device)
    return Tables(queries, keys, row_of, _listed(pair, heads), base.rope)


def bias_tables(pair: Layer0Pair, heads: Sequence[int] | None = None) -> Tables:
    """Tables of one row, number 0 for every id: what the biases alone give."""
    base, dormant = (_of_heads(layer0, heads) for layer0 in (pair.base, pair.dormant))
    queries, keys = _difference_form(base, project_biases(base), project_biases(dormant))
    nowhere = torch.zeros(base.embedding.shape[0], dtype=torch.long, device=queries.device)
    return Tables(queries.float(), keys.float(), nowhere, _listed(pair, heads), base.rope)


def _peaks_of_pairs(tables: Tables, offset: int) -> Tensor:
    groups, rows, share, width = tables.queries.shape
    factors = phases(tables.rope, torch.tensor([offset], device=tables.keys.device)) * tables.rope.scaling
    largest = torch.zeros(rows, rows, device=tables.keys.device)
    for group in range(groups):
        turned = turn_(tables.queries[group].to(torch.float32, copy=True).flatten(1), factors).view(rows, share, width)
        keys = tables.keys[group].float().T
        for start in range(0, rows, PAIR_BLOCK):
            products = (turned[start : start + PAIR_BLOCK].flatten(0, 1) @ keys).abs_()
            block = largest[start : start + PAIR_BLOCK]
            torch.maximum(block, products.view(-1, share, rows).amax(1), out=block)
    return largest


def table_bytes(pair: Layer0Pair, tokens: int, heads: Sequence[int] | None, dtype: torch.dtype) -> int:
    """Bytes of the tables of so many tokens."""
    rows = pair.base.heads + pair.base.key_heads if heads is None else 2 * len(heads)
    return tokens * rows * 2 * pair.base.head_dim * dtype.itemsize


def check_heads(layer0: Layer0, heads: Sequence[int]) -> None:
    """Raises BadInput unless there is at least one head, each of them the layer's, none twice."""
    if not heads or len(set(heads)) < len(heads) or not all(0 <= head < layer0.heads for head in heads):
        raise BadInput(
            f"heads are different numbers from 0 to {layer0.heads - 1}; got {list(heads)} at the chosen heads; "
            "name some of them, or none for all"
        )


def _of_heads(layer0: Layer0, heads: Sequence[int] | None) -> Layer0:
    """Layer 0 with the chosen query heads only, each with a key head of its own, so that no others are projected."""
    if heads is None:
        return layer0
    check_heads(layer0, heads)
    share = layer0.heads // layer0.key_heads
    queries, keys = (_rows_of_heads(chosen, layer0) for chosen in (heads, [head // share for head in heads]))
    return replace(
        layer0, query_weight=layer0.query_weight[queries], query_bias=layer0.query_bias[queries],
        key_weight=layer0.key_weight[keys], key_bias=layer0.key_bias[keys], heads=len(heads), key_heads=len(heads),
    )  # fmt: skip


def _rows_of_heads(heads: Sequence[int], layer0: Layer0) -> Tensor:
    starts = torch.tensor(list(heads), device=layer0.query_weight.device)[:, None] * layer0.head_dim
    return (starts + torch.arange(layer0.head_dim, device=starts.device)).flatten()


def _listed(pair: Layer0Pair, heads: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(range(pair.base.heads)) if heads is None else tuple(heads)


def _difference_form(layer0: Layer0, base: Projections, dormant: Projections) -> tuple[Tensor, Tensor]:
    deltas = dormant.queries - base.queries
    queries = torch.cat([interleave(deltas), interleave(base.queries)], dim=-1) * layer0.head_dim**-0.5
    keys = torch.cat([interleave(dormant.keys), interleave(dormant.keys - base.keys)], dim=-1)
    return queries.unflatten(1, (layer0.key_heads, -1)).transpose(0, 1), keys.transpose(0, 1)


def _dtype_that_fits(pair: Layer0Pair, tokens: int, heads: Sequence[int] | None, memory: int) -> torch.dtype:
    for dtype in (torch.float32, torch.bfloat16):
        if table_bytes(pair, tokens, heads, dtype) <= memory:
            return dtype
    needed = table_bytes(pair, tokens, heads, torch.bfloat16)
    raise BadInput(
        f"layer 0's tables must fit in memory; got {needed / 1e9:.2f} GB for {tokens} tokens in bfloat16 and room for "
        f"{memory / 1e9:.2f} GB at the tables; name fewer tokens or heads, or score without tables"
    )


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * SHARE_OF_MEMORY)
    try:
        return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * SHARE_OF_MEMORY)
    except (ValueError, OSError, AttributeError):  # no such figure on this system
        return 1 << 31
