"""Lines of products, of a query with all keys: where they can matter they are formed, and where they do, in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.layer0.exact_scan.bounds import ROUNDING
from dormant.layer0.exact_scan.heads import tile_of
from dormant.layer0.exact_scan.low_precision import Screen, largest_of_lines

PRODUCTS_AT_A_TIME = 1 << 21  # products that are kept at a time, where lines are multiplied out: 8 MB
NEARLY_ALL = 0.9  # of the lines: to pick out so many costs more than to take all of them
Pairs = tuple[Tensor, Tensor, Tensor, Tensor]  # values, units, query rows, key rows: [pair]


@dataclass(frozen=True, eq=False)
class Lines:
    """Queries of a few units [unit, row, column] and keys [key, column], which also stand in groups in a screen's precision.

    reach [group, unit, row]: what no product of a group and a query exceeds by their lengths. ceilings, of the same shape:
    what it does not exceed by all that is known; they fall as products are formed. A line is a row of a unit, counted
    through all units.
    """

    queries: Tensor
    keys: Tensor
    groups: Sequence[Tensor]
    screen: Screen
    reach: Tensor
    ceilings: Tensor

    def enough(self, top: int, floor: float) -> Float[Tensor, " unit"]:
        """What a product of a unit must reach to be its best, or of the `top` best of all above `floor`: [unit].

        Read off the most promising lines, each of which holds a pair: those of every unit, and the `top` of all.
        """
        highest = self.ceilings.amax(0)
        units, rows = highest.shape
        leaders = highest.max(1).indices + torch.arange(units, device=highest.device) * rows
        most = highest.flatten().topk(min(top, highest.numel()))
        lines = torch.cat((leaders, most.indices[most.values > floor]))
        largest = torch.cat([self._values(part).amax(1) for part in self._parts(lines)])
        peaks = torch.zeros(units, device=highest.device).scatter_reduce_(0, lines // rows, largest, "amax")
        rest = largest[units:]
        # A line's products differ in their last bits where others stand beside it.
        return peaks.clamp_(max=max(floor, float(rest.min())) if len(rest) == top else floor) / ROUNDING

    def form(self, enough: Tensor | None, space: Tensor, report: Callable[[int], None]) -> float:
        """Forms products where ceilings reach what is enough [unit], all without it, and lowers these to them.

        Returns the share of products that were formed. `report` is called with the pairs gone through.
        """
        queries, formed, done = self.queries.flatten(0, 1), 0, 0
        height, _ = tile_of(queries.device)
        for group, reach, ceilings in zip(self.groups, self.reach, self.ceilings, strict=True):
            found, lines = ceilings.view(-1), None
            if enough is not None:
                lines = (ceilings >= enough[:, None]).flatten().nonzero()[:, 0]
            if lines is None or len(lines) > NEARLY_ALL * len(queries):
                count = len(queries)
                for start in range(0, count, height):
                    part = slice(start, start + height)
                    found[part] = self._largest(queries[part], group, reach.flatten()[part], space)
            else:
                count = len(lines)
                for chosen in lines.split(height):
                    vectors, most = queries.index_select(0, chosen), reach.flatten().index_select(0, chosen)
                    found.index_copy_(0, chosen, self._largest(vectors, group, most, space))
            formed += count * len(group)
            report(done := done + len(queries) * len(group))
        return formed / done

    def _largest(self, queries: Tensor, group: Tensor, reach: Tensor, space: Tensor) -> Tensor:
        """What the largest |product| of lines with a group of keys does not exceed: reach [line] -> [line]."""
        screen, tiles = self.screen, group.split(tile_of(queries.device)[1])
        ends = torch.empty(len(tiles), len(queries), dtype=screen.order, device=queries.device)
        queries = queries.to(screen.dtype)
        for tile, end in zip(tiles, ends, strict=True):
            products = space[: len(queries) * len(tile)].view(len(queries), len(tile))
            largest_of_lines(torch.mm(queries, tile.T, out=products), screen, end)
        values = ends.amax(0).view(screen.dtype).float()
        return values.mul_(1 + screen.of_value).add_(reach, alpha=screen.of_lengths)

    def pairs(self, enough: Float[Tensor, " unit"], top: int) -> Pairs:
        """The pairs that are enough for their unit [unit]; of many the `top` best, and the best of each unit.

        Their values are summed in float64 and rounded, and so are the same whatever stood beside them; a few pairs that are
        as good within rounding come too.
        """
        lines = (self.ceilings.amax(0) >= enough[:, None]).flatten().nonzero()[:, 0]
        found = [self._best(part, enough, top) for part in self._parts(lines)]
        units, rows, keys = (torch.cat(part) for part in zip(*found, strict=True))
        products = self.queries[units, rows].double() * self.keys[keys].double()
        return products.sum(-1).abs().float(), units, rows, keys

    def _best(self, lines: Tensor, enough: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor]:
        every, units, rows = self._values(lines), lines // self.queries.shape[1], lines % self.queries.shape[1]
        at, keys = (every >= enough[units, None]).nonzero().unbind(1)
        values, units, rows = every[at, keys], units[at], rows[at]
        if len(at) <= top:
            return units, rows, keys
        peaks = torch.zeros_like(enough).scatter_reduce_(0, units, values, "amax")
        kept = values >= torch.minimum(values.topk(top).values[-1], peaks[units]) / ROUNDING
        return units[kept], rows[kept], keys[kept]

    def _values(self, lines: Tensor) -> Tensor:  # |product| [line, key]
        return (self.queries.flatten(0, 1).index_select(0, lines) @ self.keys.T).abs_()

    def _parts(self, lines: Tensor) -> Sequence[Tensor]:
        """So many lines at a time as may be multiplied out."""
        parts: Sequence[Tensor] = lines.split(max(1, PRODUCTS_AT_A_TIME // len(self.keys)))
        return parts
