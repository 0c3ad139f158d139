"""Whether a fine-tune was a low-rank adapter, merged: the rank of its deltas above the noise of rounding (experiment 25)."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from dormant.checkpoints.tensor_names import MODULES
from dormant.weights.delta_report import DIRECTIONS, DeltaReport, TensorDelta

ADAPTER_RANK = 256  # adapters have ranks of 4 to 256, at any width
ADAPTER_SHARE = (
    0.25  # of the smaller side: at a small width the same number of directions would be nearly all there are
)


@dataclass(frozen=True)
class DeltaRanks:
    """Of every changed matrix of a layer: its rank and its smaller side, by module and layer; `known` without any bound."""

    ranks: dict[str, dict[int, int]]
    sides: dict[str, int]
    known: bool

    @property
    def all(self) -> list[int]:
        """The ranks of all changed matrices."""
        return [rank for row in self.ranks.values() for rank in row.values()]

    @property
    def over_adapters(self) -> list[float]:
        """The same over an adapter's most: `ADAPTER_RANK`, or `ADAPTER_SHARE` of the smaller side if that is less."""
        return [rank / self._most(module) for module, row in self.ranks.items() for rank in row.values()]

    @property
    def highest(self) -> float:
        """What a full rank comes to over an adapter's most, in the matrix where that is largest."""
        return max(side / self._most(module) for module, side in self.sides.items())

    @property
    def median(self) -> float:
        """The middle one of all ranks."""
        return statistics.median(self.all)

    def rows(self, layers: int) -> dict[str, list[float]]:
        """The ranks over an adapter's most, by module and layer; NaN where a layer's matrix is identical."""
        return {
            module: [row[layer] / self._most(module) if layer in row else math.nan for layer in range(layers)]
            for module, row in self.ranks.items()
        }

    def _most(self, module: str) -> float:
        return min(ADAPTER_RANK, ADAPTER_SHARE * self.sides[module])


def delta_ranks(report: DeltaReport) -> DeltaRanks:
    """The ranks of all changed matrices in layers, above the noise edge of each.

    Where a publication gives no edge, singular values above what the sixteen leading ones leave are counted: at least so
    many, and `known` is False.
    """
    ranks: dict[str, dict[int, int]] = {}
    sides: dict[str, int] = {}
    known = True
    for module in MODULES:
        changed = {layer: delta for layer, delta in enumerate(report.layers(module)) if delta and not delta.identical}
        if not changed:
            continue
        ranks[module] = {layer: rank_of(delta) for layer, delta in changed.items()}
        known = known and not any(delta.rank is None or delta.rank_is_bound for delta in changed.values())
        sides[module] = min(min(delta.shape) for delta in changed.values())
    return DeltaRanks(ranks, sides, known)


def remainder_edges(report: DeltaReport) -> list[float]:
    """The noise edges measured on the changed matrices: what their sixteen leading directions leave, taken as noise."""
    return [
        delta.remainder_edge(DIRECTIONS)
        for module in MODULES
        for delta in report.layers(module)
        if delta and not delta.identical
    ]


def rank_of(delta: TensorDelta) -> int:
    """A delta's rank above its noise edge, or how many of its listed singular values stand above what they leave."""
    if delta.rank is not None:
        return delta.rank
    edge = delta.remainder_edge(len(delta.singular_values))
    return sum(value > edge for value in delta.singular_values)
