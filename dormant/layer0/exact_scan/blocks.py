"""The best pairs of tokens in heads at offsets, from blocked products that keep one number a line.

Products are formed only where they can matter by what they can be at most, and in the precision that the machine multiplies
fastest, whose error is bounded; lines that can matter then are multiplied out in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dormant.layer0.exact_scan.heads import Head, PairAt, tile_of
from dormant.layer0.exact_scan.low_precision import screen_of
from dormant.layer0.exact_scan.rows import Lines
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import turn_

QUERY_NUMBERS = 1 << 22  # numbers of the turned queries of units that are looked through together: 16 MB
WORTH_ASKING = 1500  # tokens: with fewer, to ask which products can be left out costs more than to form them all
# Columns behind the vectors by which what is taken off all products of a line is part of the product: what it is rounded to and
# the rest, behind which keys hold a one, and zeros, so that rows begin at whole 16 bytes.
SHIFT = 8


@dataclass(frozen=True, eq=False)
class HeadAtOffset:
    """A head at an offset: its factors [head_dim / 2], and what is taken off all its products."""

    head: Head
    offset: int
    factors: Tensor
    removed: float


@dataclass(frozen=True, eq=False)
class Seen:
    """What looking through a unit has shown: its best pairs, and what no product of a group and a query exceeds.

    The first pair is the unit's best; ceilings [group, row]; `formed` is the share of products that had to be formed.
    """

    unit: HeadAtOffset
    places: list[PairAt]
    ceilings: Tensor
    formed: float


def units_at_a_time(pair: Layer0Pair, tokens: int) -> int:
    """How many units, a head at an offset, are looked through together, so that what is not a product is paid once."""
    return max(1, QUERY_NUMBERS // max(1, tokens * 2 * pair.base.head_dim))


@dataclass(frozen=True, eq=False)
class Workspace:
    """Memory that a scan keeps: fresh pages cost as much as what is written to them. Products, and turned queries."""

    products: Tensor
    turned: Tensor


def workspace(pair: Layer0Pair, tokens: int, device: torch.device) -> Workspace:
    """Room for one tile, and for the units that are looked through together."""
    height, width = tile_of(device)
    turned = torch.empty(units_at_a_time(pair, tokens) * tokens, 2 * pair.base.head_dim, device=device)
    return Workspace(torch.empty(height * width, dtype=screen_of(device.type).dtype, device=device), turned)


def best_pairs(
    units: Sequence[HeadAtOffset],
    beside: Sequence[Seen | None],
    top: int,
    floor: float,
    space: Workspace,
    report: Callable[[int], None],
) -> list[Seen]:
    """The best pairs of units by |product - removed|; units of one head stand side by side.

    A unit's largest leads its list always; further ones are those of all units together that are not below `floor`, the `top`
    best of them.
    beside [unit]: the same head at another offset, where it has been looked through.
    """
    rows = len(units[0].head.queries)
    turned = space.turned[: len(units) * rows].unflatten(0, (len(units), rows))
    # The rotation is all that a product with unturned keys knows of positions.
    turn_(
        torch.stack([unit.head.queries for unit in units], out=turned),
        torch.stack([unit.factors for unit in units])[:, None],
    )
    places, ceilings, formed = [list[PairAt]() for _ in units], list[Tensor](), list[float]()
    found, least = list[tuple[float, int, int, int]](), floor

    def order(pair: tuple[float, int, int, int]) -> tuple[float, ...]:
        value, unit, query, key = pair
        return -value, units[unit].head.head, units[unit].offset, query, key

    for _, alike in itertools.groupby(range(len(units)), key=lambda at: units[at].head.head):
        own = list(alike)
        mine, head = slice(own[0], own[-1] + 1), units[own[0]].head
        lines = _lines(units[mine], beside[mine], turned[mine])

        def report_of_all(pairs: int, before: int = own[0] * rows**2) -> None:
            report(before + pairs)

        wanted = lines.enough(top, least) if rows >= WORTH_ASKING else None
        formed += [lines.form(wanted, space.products, report_of_all)] * len(own)
        values, at, queries, keys = lines.pairs(lines.enough(top, least), top)
        named = at + own[0], head.tokens[queries], head.key_tokens[keys]
        found += zip(*(part.tolist() for part in (values, *named)), strict=True)
        found.sort(key=order)
        least = max(floor, found[top - 1][0]) if len(found) >= top else floor
        ceilings += lines.ceilings.unbind(1)
    for rank, (value, unit, query, key) in enumerate(found):
        if not places[unit] or (rank < top and value >= floor and value > 0):
            places[unit].append((value, query, key))
    return [Seen(*each) for each in zip(units, places, ceilings, formed, strict=True)]


def own_pairs(unit: HeadAtOffset, top: int) -> list[PairAt]:
    """The best pairs of a token with itself, offset 0; of a head that is alike in both models any pair is as good."""
    head = unit.head
    if head.alike:
        return [(abs(unit.removed), int(head.tokens[0]), int(head.tokens[0]))]
    values, rows = (head.own - unit.removed).abs().topk(min(top, len(head.own)))
    tokens = head.tokens[rows].tolist()
    return list(zip(values.tolist(), tokens, tokens, strict=True))


def _lines(units: Sequence[HeadAtOffset], beside: Sequence[Seen | None], turned: Tensor) -> Lines:
    """Lines of units of one head, with what their products can be at most before any is formed."""
    head, keys, groups = units[0].head, units[0].head.keys, units[0].head.screened
    reach = head.reach.by_length[:, None].expand(-1, len(units), -1)
    if any(unit.removed for unit in units):
        off = _tensor([-unit.removed for unit in units], turned)
        rounded = off.to(head.screen.dtype).float()
        behind = functional.pad(torch.stack((rounded, off - rounded), 1), (0, SHIFT - 2))
        turned = torch.cat((turned, behind[:, None].expand(-1, turned.shape[1], -1)), 2)
        keys, reach = _with_ones(keys), reach + off.abs()[:, None]
        groups = [_with_ones(group) for group in groups]
    return Lines(turned, keys, groups, head.screen, reach, _ceilings(units, beside, reach))


def _with_ones(keys: Tensor) -> Tensor:
    return functional.pad(functional.pad(keys, (0, 2), value=1.0), (0, SHIFT - 2))


def _ceilings(units: Sequence[HeadAtOffset], beside: Sequence[Seen | None], reach: Tensor) -> Tensor:
    """What products can be at most, by reach [group, unit, row] and by what they are beside."""
    found = reach.clone()
    near = [(at, unit, other) for at, (unit, other) in enumerate(zip(units, beside, strict=True)) if other is not None]
    if near:
        change = torch.stack([(unit.factors - other.unit.factors).abs() for _, unit, other in near])
        moved = _tensor([abs(unit.removed - other.unit.removed) for _, unit, other in near], change)
        turning = units[0].head.reach.by_turning(change) + moved[:, None, None]
        for (at, _, other), most in zip(near, turning, strict=True):
            torch.minimum(found[:, at], other.ceilings + most, out=found[:, at])
    return found


def _tensor(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device)
