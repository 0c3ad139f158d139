"""In which order a head's offsets are looked through: one of a few in a row, then those beside it from what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dormant.layer0.exact_scan.blocks import HeadAtOffset, Seen

Look = Callable[[Sequence[HeadAtOffset], Sequence[Seen | None]], list[Seen]]
# Of the products beside the middle of a row, how many have to be formed all the same: below the one a row grows, since nearly
# all that it costs is its middle; above the other it shrinks, since its ends then cost as much as middles of their own.
# Tuned on random models for speed; results are the same.
FEW, MANY = 0.1, 0.5


@dataclass
class Neighbours:
    """Rows of up to 2 radius + 1 offsets, as many together as have `size` units; what is seen sets the next radius."""

    size: int
    radius: int

    def walk(self, heads: Sequence[Sequence[HeadAtOffset]], look: Look) -> None:
        """Looks through all units: of every head by rising offset."""
        left = [list(units) for units in heads]
        while any(left):
            rows = list(self._rows(left))
            middles = [row.pop(len(row) // 2) for row in rows]
            seen = look(middles, [None] * len(middles))
            beside = [(unit, middle) for row, middle in zip(rows, seen, strict=True) for unit in row]
            for start in range(0, len(beside), self.size):
                units, shown = zip(*beside[start : start + self.size], strict=True)
                found = look(units, shown)
                self._learn(sum(each.formed for each in found) / len(found))

    def _rows(self, left: list[list[HeadAtOffset]]) -> Iterator[list[HeadAtOffset]]:
        """Takes rows off what is left, one at least."""
        length, taken = 2 * self.radius + 1, 0
        for units in left:
            while units and (taken == 0 or taken + length <= self.size):
                yield units[:length]
                del units[:length]
                taken += length

    def _learn(self, formed: float) -> None:
        if formed < FEW:
            self.radius *= 2
        elif formed > MANY:
            self.radius = max(1, self.radius // 2)
