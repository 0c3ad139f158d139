"""The best pairs of tokens in one head at several offsets, from blocked products that keep one number a line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import turn_
from dormant.layer0.tables import build_tables

# Query lines and key tokens of a tile: on a CPU its values stay in the cache until the largest of each line is known.
TILE = {"cpu": (2048, 1024), "cuda": (8192, 8192)}
VECTORS = 1 << 24  # numbers of the vectors that exist at a time, where one head's are not more: 64 MB
ROUNDING = 1.0001  # float32 products may exceed the product of their lengths by a hundred-thousandth
Place = tuple[float, int, int]  # value, query token, key token


@dataclass(frozen=True, eq=False)
class Head:
    """One head's vectors before rotation, queries and keys [row, 2 head_dim] with the tokens that they belong to.

    Where a product takes several stripes, both stand by falling length, which no offset changes, and the lengths [row]
    beside them; else in the order of the tokens. `own` [token] is what every token gives with itself.
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
    half = keys.shape[1] // 2
    own = (queries * keys).sum(-1) * scaling
    alike = not (queries[:, :half].any() or keys[:, half:].any())
    if len(tokens) <= tile_of(tokens.device)[0]:  # one stripe: nothing that could be left out
        return Head(head, tokens, queries, tokens, [], keys, tokens, [], own, alike)
    queries, query_rows, query_lengths = _longest_first(queries, scaling)
    keys, key_rows, key_lengths = _longest_first(keys)
    return Head(
        head, tokens, queries, tokens[query_rows], query_lengths, keys, tokens[key_rows], key_lengths, own, alike
    )


def heads_at_a_time(pair: Layer0Pair, tokens: int) -> int:
    """How many heads' vectors are built at once: at least one."""
    return max(1, VECTORS // max(1, tokens * 4 * pair.base.head_dim))


def offsets_at_a_time(tokens: int, device: torch.device) -> int:
    """How many offsets share one product: as many as fit in a tile, at least one."""
    height, width = tile_of(device)
    return max(1, height * width // max(1, tokens * tokens))


def workspace(device: torch.device) -> Tensor:
    """Room for the products of a tile. It is kept over a scan: fresh memory costs a third of the product again."""
    height, width = tile_of(device)
    return torch.empty(height * width, device=device)


def best_pairs(
    head: Head,
    factors: Tensor,
    removed: Sequence[float],
    top: int,
    floor: float,
    space: Tensor,
    report: Callable[[int], None],
) -> list[list[Place]]:
    """One head's best pairs at the offsets of `factors` [offset, head_dim / 2], a list an offset, best first.

    An offset's largest |product - removed| leads its list always; further ones are those above `floor` among the `top`
    best of all offsets together. Several offsets stand below each other in one product; a single one is cut in stripes.
    """
    offsets, rows = len(factors), len(head.keys)
    # The rotation is all that a product with unturned keys knows of positions.
    turned = turn_(head.queries.repeat(offsets, 1, 1), factors[:, None]).flatten(0, 1)
    shift = torch.tensor(removed, device=turned.device).repeat_interleave(rows) if any(removed) else None
    largest = _largest_of_lines(head, turned, shift, offsets, top, floor, space, report)
    peaks, lines = largest.view(offsets, rows).max(1)
    chosen = lines + torch.arange(0, offsets * rows, rows, device=lines.device)
    found = [[place] for place in _places(head, turned, shift, chosen)]
    if float(peaks.max()) > floor:
        hits = largest.topk(min(top, len(largest)))
        for line, *place in _hits(head, turned, shift, hits.indices[hits.values > floor], top, floor):
            if tuple(place[1:]) != found[line // rows][0][1:]:
                found[line // rows].append(tuple(place))  # type: ignore[arg-type]
    return found


def own_pairs(head: Head, removed: float, top: int) -> list[Place]:
    """Offset 0: every token with itself."""
    values, rows = (head.own - removed).abs().topk(min(top, len(head.own)))
    tokens = head.tokens[rows].tolist()
    return list(zip(values.tolist(), tokens, tokens, strict=True))


def tile_of(device: torch.device) -> tuple[int, int]:
    """Lines and key tokens of a tile on a device."""
    return TILE.get(device.type, TILE["cpu"])


def _largest_of_lines(
    head: Head,
    turned: Tensor,
    shift: Tensor | None,
    offsets: int,
    top: int,
    floor: float,
    space: Tensor,
    report: Callable[[int], None],
) -> Tensor:
    """The largest |product - shift| of every line with any key: [line]. Lines that cannot matter may hold less."""
    rows, (height, width) = len(head.keys), tile_of(turned.device)
    if offsets > 1:
        height = len(turned)
        width = rows
    largest = torch.zeros(len(turned), device=turned.device)
    margin = 0.0 if shift is None else float(shift.abs().max())
    for start in range(0, len(turned), height):
        lines, columns = turned[start : start + height], rows
        # Longest vectors first: no product exceeds its lengths', so that a stripe ends where even these could not matter.
        if start:
            known = largest[:start].topk(min(top, start)).values
            enough = max(floor, float(known[-1]) if len(known) == top else 0.0)
            reach = (min(float(known[0]), enough) - margin) / max(head.query_lengths[start] * ROUNDING, 1e-30)
            columns = bisect_left(head.key_lengths, -reach, key=lambda length: -length)
        ends = []
        for across in range(0, columns, width):
            block = head.keys[across : min(across + width, columns)]
            products = space[: len(lines) * len(block)].view(len(lines), len(block))
            torch.mm(lines, block.T, out=products)
            # Two passes of a plain maximum cost less than torch's one pass for both ends.
            ends.append((products.amax(1), products.amin(1)))
        if ends:
            high = torch.stack([most for most, _ in ends]).amax(0)
            low = torch.stack([least for _, least in ends]).amin(0)
            if shift is not None:
                high, low = high - shift[start : start + height], low - shift[start : start + height]
            torch.maximum(high, low.neg_(), out=largest[start : start + height])
        report((start + len(lines)) * rows)
    return largest


def _values(head: Head, turned: Tensor, shift: Tensor | None, lines: Tensor) -> Tensor:
    values = turned[lines] @ head.keys.T
    return (values if shift is None else values.sub_(shift[lines, None])).abs_()


def _places(head: Head, turned: Tensor, shift: Tensor | None, lines: Tensor) -> list[Place]:
    """The best pair of each line."""
    values, columns = _values(head, turned, shift, lines).max(1)
    queries, keys = head.query_tokens[lines % len(head.keys)], head.key_tokens[columns]
    return list(zip(values.tolist(), queries.tolist(), keys.tolist(), strict=True))


def _hits(
    head: Head, turned: Tensor, shift: Tensor | None, lines: Tensor, top: int, floor: float
) -> list[tuple[int, float, int, int]]:
    """The `top` best pairs above `floor` in some lines, best first: line, value, query token, key token."""
    height, width = tile_of(turned.device)
    best = torch.empty(0, device=turned.device)
    at_lines = at_columns = torch.empty(0, dtype=torch.long, device=turned.device)
    for part in lines.split(max(1, height * width // len(head.keys))):
        values = _values(head, turned, shift, part).flatten()
        few = values.topk(min(top, len(values)))
        best = torch.cat([best, few.values])
        at_lines = torch.cat([at_lines, part[few.indices // len(head.keys)]])
        at_columns = torch.cat([at_columns, few.indices % len(head.keys)])
        order = best.topk(min(top, len(best))).indices
        best, at_lines, at_columns = best[order], at_lines[order], at_columns[order]
    kept = int((best > floor).sum())
    queries, keys = head.query_tokens[at_lines[:kept] % len(head.keys)], head.key_tokens[at_columns[:kept]]
    return list(zip(at_lines[:kept].tolist(), best[:kept].tolist(), queries.tolist(), keys.tolist(), strict=True))


def _longest_first(vectors: Tensor, scaling: float = 1.0) -> tuple[Tensor, Tensor, list[float]]:
    """The vectors by falling length, their rows, and their lengths times a factor."""
    lengths, rows = torch.linalg.vector_norm(vectors, dim=-1).sort(descending=True, stable=True)
    return vectors[rows], rows, (lengths * scaling).tolist()
