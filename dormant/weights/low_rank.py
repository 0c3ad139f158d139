"""Whether a fine-tune was a low-rank adapter, merged: the rank of its deltas above the noise of rounding (experiment 25)."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from dormant.checkpoints.tensor_names import MODULES, layer_of, module_of, within_layer
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
    for module, changed in changed_matrices(report).items():
        ranks[module] = {layer: rank_of(delta) for layer, delta in changed.items()}
        known = known and not any(delta.rank is None or delta.rank_is_bound for delta in changed.values())
        sides[module] = min(min(delta.shape) for delta in changed.values())
    return DeltaRanks(ranks, sides, known)


def changed_matrices(report: DeltaReport) -> dict[str, dict[int, TensorDelta]]:
    """The changed matrices of the layers, by module and layer: Qwen2's modules first, others by their place in a layer."""
    found: dict[str, dict[int, TensorDelta]] = {}
    for name, delta in report.tensors.items():
        layer = layer_of(name)
        if layer is None or delta.identical or len(delta.shape) != 2:
            continue
        within, module = within_layer(name), module_of(name)
        usual = module in MODULES and within in (f"self_attn.{module}.weight", f"mlp.{module}.weight")
        found.setdefault(module if usual else within.removesuffix(".weight"), {})[layer] = delta
    first = [module for module in MODULES if module in found]
    return {module: found[module] for module in [*first, *sorted(found.keys() - set(first))]}


def remainder_edges(report: DeltaReport) -> list[float]:
    """The noise edges measured on the changed matrices: what their sixteen leading directions leave, taken as noise."""
    return [
        delta.remainder_edge(DIRECTIONS) for changed in changed_matrices(report).values() for delta in changed.values()
    ]


def rank_of(delta: TensorDelta) -> int:
    """A delta's rank above its noise edge, or how many of its listed singular values stand above what they leave."""
    if delta.rank is not None:
        return delta.rank
    edge = delta.remainder_edge(len(delta.singular_values))
    return sum(value > edge for value in delta.singular_values)
