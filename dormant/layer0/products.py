"""The best pairs of tokens in heads at offsets, from blocked products that keep one number a line.

Products are formed in the precision that the machine multiplies fastest, whose error is bounded; lines that can matter under
that bound are multiplied out in float32.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import turn_
from dormant.layer0.screening import largest_of_lines, screen_of
from dormant.layer0.vectors import Head, Place, tile_of

VALUES = 1 << 21  # products that are kept at a time, where the best of lines are looked for: 8 MB
UNITS = 1 << 22  # numbers of the turned queries of units that are looked through together: 16 MB
ROUNDING = 1.0001  # float32 products may exceed the product of their lengths by a hundred-thousandth
# Columns behind the vectors by which what is taken off all products of a line is part of the product: what it is rounded to and
# the rest, behind which keys hold a one, and zeros, so that rows begin at whole 16 bytes.
SHIFT = 8
_Pairs = tuple[Tensor, Tensor, Tensor, Tensor]  # values, units, query tokens, key tokens: [pair]


def units_at_a_time(pair: Layer0Pair, tokens: int, device: torch.device) -> int:
    """How many units, a head at an offset, are looked through together, so that what is not a product is paid once.

    One alone where its lines take several stripes: each stripe learns from those before which lines can matter.
    """
    return max(1, UNITS // max(1, tokens * 2 * pair.base.head_dim)) if tokens <= tile_of(device)[0] else 1


@dataclass(frozen=True, eq=False)
class Workspace:
    """Memory that a scan keeps: fresh pages cost as much as what is written to them. Products, and turned queries."""

    products: Tensor
    turned: Tensor


def workspace(pair: Layer0Pair, tokens: int, device: torch.device) -> Workspace:
    """Room for one tile, and for the units that are looked through together."""
    height, width = tile_of(device)
    turned = torch.empty(units_at_a_time(pair, tokens, device) * tokens, 2 * pair.base.head_dim, device=device)
    return Workspace(torch.empty(height * width, dtype=screen_of(device.type).dtype, device=device), turned)


def best_pairs(
    heads: Sequence[Head],
    factors: Tensor,
    removed: Sequence[float],
    top: int,
    floor: float,
    space: Workspace,
    report: Callable[[int], None],
) -> list[list[Place]]:
    """The best pairs of units, a list a unit, best first: each is one of `heads` at the offset of its row of `factors`.

    factors [unit, head_dim / 2], removed [unit]; units of one head stand side by side. A unit's largest |product - removed|
    leads its list always; further ones are those above `floor` among the `top` best of all units together.
    """
    # The rotation is all that a product with unturned keys knows of positions.
    rows = len(heads[0].queries)
    turned = space.turned[: len(heads) * rows].unflatten(0, (len(heads), rows))
    turn_(torch.stack([head.queries for head in heads], out=turned), factors[:, None])
    largest, runs = torch.zeros(turned.shape[:2], device=turned.device), list[_Run]()
    for _, alike in itertools.groupby(range(len(heads)), key=lambda unit: heads[unit].head):
        units = list(alike)
        own = slice(units[0], units[-1] + 1)
        shift = torch.tensor(removed[own], device=turned.device) if any(removed[own]) else None
        runs.append(_Run(heads[units[0]], own.start, turned[own], shift, largest[own]))
        runs[-1].fill(top, floor, space.products, report)
    found = [[place] for _, place in _places([run.leaders() for run in runs])]
    margin = max(run.margin for run in runs)
    hits = largest.flatten().topk(min(top, largest.numel())).values
    if float(hits[0]) + margin > floor:
        # Each of the lines with these values holds a pair above the last less a margin: none below two margins is of the best.
        least = max(floor - margin, float(hits[-1]) - 2 * margin)
        for unit, place in _further(runs, (largest.flatten() >= least).nonzero()[:, 0], top, floor):
            if place[1:] != found[unit][0][1:]:
                found[unit].append(place)
    return found


@dataclass(frozen=True, eq=False)
class _Run:
    """Units of one head, of which `first` is the first.

    Turned queries [unit, row, 2 head_dim], what is taken off their products [unit], and room for each line's largest [unit,
    row] as it was screened. A line is a row of a unit, counted through all units of the run.
    """

    head: Head
    first: int
    turned: Tensor
    shift: Tensor | None
    largest: Tensor

    @property
    def margin(self) -> float:
        """How far a line's largest may lie beside the true one."""
        return self.head.screen.margin(self.head.bound + self._most_shifted, float(self.largest.max()))

    @property
    def _most_shifted(self) -> float:
        return 0.0 if self.shift is None else float(self.shift.abs().max())

    def fill(self, top: int, floor: float, space: Tensor, report: Callable[[int], None]) -> None:
        """The largest |product - shift| of every line with any key. Lines that cannot matter may hold less."""
        queries, keys, screen = self.turned.flatten(0, 1), self.head.screened, self.head.screen
        rows, (height, width), largest = len(keys), tile_of(queries.device), self.largest.flatten()
        if self.shift is not None:
            keys = functional.pad(functional.pad(keys, (0, 2), value=1.0), (0, SHIFT - 2))
        room = torch.empty(-(-rows // width), height, dtype=screen.order, device=queries.device)
        for start in range(0, len(queries), height):
            columns = self._within_reach(start, top, floor) if start and rows > height else rows
            lines = slice(start, min(start + height, len(queries)))
            part = self._shifted(queries[lines], lines).to(screen.dtype)
            blocks = keys[:columns].split(width) if columns else ()
            ends = room[: len(blocks), : len(part)]
            for block, end in zip(blocks, ends, strict=True):
                products = space[: len(part) * len(block)].view(len(part), len(block))
                largest_of_lines(torch.mm(part, block.T, out=products), screen, end)
            if blocks:
                largest[lines] = ends.amax(0).view(screen.dtype).float()
            report((self.first * rows + lines.stop) * rows)

    def _shifted(self, queries: Tensor, lines: slice) -> Tensor:
        """Queries with what is taken off their products behind them: rounded, and what that leaves."""
        if self.shift is None:
            return queries
        off = -self.shift.repeat_interleave(len(self.head.keys))[lines, None]
        rounded = off.to(self.head.screen.dtype).float()
        return functional.pad(torch.cat((queries, rounded, off - rounded), dim=1), (0, SHIFT - 2))

    def _within_reach(self, start: int, top: int, floor: float) -> int:
        """Of how many keys, the longest first, a product with the lines from `start` on, all shorter, could still matter."""
        before = self.largest.flatten()[:start]
        known = before.topk(min(top, len(before))).values - self.margin
        enough = max(floor, float(known[-1]) if len(known) == top else 0.0)
        longest = max(self.head.query_lengths[start] * ROUNDING, 1e-30)
        reach = (min(float(known[0]), enough) - self._most_shifted) / longest
        return bisect_left(self.head.key_lengths, -reach, key=lambda length: -length)

    def leaders(self) -> _Pairs:
        """The best pair of each unit."""
        least = self.largest.amax(1, keepdim=True) - 2 * self.margin
        found = [self._leading(part) for part in self.parts((self.largest >= least).flatten().nonzero()[:, 0])]
        values, units, queries, keys = (torch.cat(part) for part in zip(*found, strict=True))
        falling = values.argsort(descending=True, stable=True)
        order = falling[units[falling].argsort(stable=True)]  # by unit, the best first
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = units[order][1:] != units[order][:-1]
        best = order[first]
        return values[best], units[best], queries[best], keys[best]

    def _leading(self, lines: Tensor) -> _Pairs:
        """The best pair of each line."""
        values, columns = self._values(lines).max(1)
        return self._pairs(values, lines, columns)

    def parts(self, lines: Tensor) -> Sequence[Tensor]:
        """So many lines at a time as may be multiplied out."""
        return lines.split(max(1, VALUES // len(self.head.keys)))

    def best(self, lines: Tensor, top: int) -> _Pairs:
        """The `top` best pairs in some lines."""
        values = self._values(lines).flatten()
        few, keys = values.topk(min(top, len(values))), len(self.head.keys)
        return self._pairs(few.values, lines[few.indices // keys], few.indices % keys)

    def _values(self, lines: Tensor) -> Tensor:  # |product - shift| [line, key]
        found = self.turned.flatten(0, 1)[lines] @ self.head.keys.T
        return (found if self.shift is None else found.sub_(self.shift[lines // len(self.head.keys), None])).abs_()

    def _pairs(self, values: Tensor, lines: Tensor, columns: Tensor) -> _Pairs:
        units, rows = self.first + lines // len(self.head.keys), lines % len(self.head.keys)
        return values, units, self.head.query_tokens[rows], self.head.key_tokens[columns]


def _further(runs: Sequence[_Run], lines: Tensor, top: int, floor: float) -> list[tuple[int, Place]]:
    """The `top` best pairs above `floor` in some lines, which are counted through all runs: units and pairs, best first."""
    found = list[_Pairs]()
    for run in runs:
        before, inside = run.first * run.largest.shape[1], run.largest.numel()
        mine = lines[(lines >= before) & (lines < before + inside)] - before
        found += [run.best(part, top) for part in run.parts(mine) if len(part)]
    values, *named = (torch.cat(part) for part in zip(*found, strict=True))
    best = values.topk(min(top, len(values)))
    order = best.indices[best.values > floor]
    return _places([(values[order], *(part[order] for part in named))])  # type: ignore[list-item]


def _places(found: Sequence[_Pairs]) -> list[tuple[int, Place]]:
    """Units and pairs as numbers."""
    values, units, queries, keys = (torch.cat(part).tolist() for part in zip(*found, strict=True))
    return list(zip(units, zip(values, queries, keys, strict=True), strict=True))
