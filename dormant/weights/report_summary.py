"""A delta report in a few rows: what each module changed, which layers and which heads carry it."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass

from dormant.checkpoints.tensor_names import layer_of, within_layer
from dormant.weights.delta_report import DeltaReport, TensorDelta
from dormant.weights.heads import HeadDelta


@dataclass(frozen=True)
class ModuleSummary:
    """One kind of tensor over all layers; norms are Frobenius norms, `strongest` the name of its largest delta.

    `relative` is the median over changed tensors, None where none is known; `sigma1` the largest singular value; `ranks` the
    fewest and the most directions above the noise edge, None where not measured; `rank_is_bound` where the most is "at least".
    """

    module: str
    tensors: int
    changed: int
    norm: float
    relative: float | None
    strongest: str
    sigma1: float
    ranks: tuple[int, int] | None
    rank_is_bound: bool


def summarise_modules(report: DeltaReport) -> list[ModuleSummary]:
    """A row for each kind of tensor, in the order of the report, changed ones first and the largest of them on top."""
    kinds: dict[str, list[TensorDelta]] = defaultdict(list)
    for name, delta in report.tensors.items():
        kinds[kind_of(name)].append(delta)
    rows = [_summarise(kind, deltas) for kind, deltas in kinds.items()]
    return sorted(rows, key=lambda row: -row.norm)


def kind_of(name: str) -> str:
    """A tensor's name without model, layer and "weight": "self_attn.q_proj", "mlp.gate_proj", "lm_head"."""
    return within_layer(name).removesuffix(".weight")


def _summarise(kind: str, deltas: list[TensorDelta]) -> ModuleSummary:
    changed = [delta for delta in deltas if not delta.identical]
    relative = [delta.relative for delta in changed if delta.relative is not None]
    ranks = [delta.rank for delta in changed if delta.rank is not None]
    strongest = max(changed, key=lambda delta: delta.energy, default=None)
    return ModuleSummary(
        kind,
        len(deltas),
        len(changed),
        math.sqrt(math.fsum(delta.energy for delta in changed)),
        statistics.median(relative) if relative else None,
        strongest.name if strongest else "",
        max((delta.singular_values[0] for delta in changed if delta.singular_values), default=0.0),
        (min(ranks), max(ranks)) if ranks else None,
        any(delta.rank_is_bound for delta in changed),
    )


def layer_norms(report: DeltaReport) -> list[float]:
    """Frobenius norm of each layer's whole delta: [layer]."""
    energies = [0.0] * report.n_layers
    for name, delta in report.tensors.items():
        if (layer := layer_of(name)) is not None:
            energies[layer] += delta.energy
    return [math.sqrt(energy) for energy in energies]


def leading_heads(report: DeltaReport, count: int) -> list[tuple[TensorDelta, HeadDelta]]:
    """The heads of weight matrices with the largest singular values, and the tensors that they are part of."""
    heads = [
        (delta, head)
        for delta in report.tensors.values()
        if len(delta.shape) == 2
        for head in delta.heads
        if head.sigma1 > 0
    ]
    return sorted(heads, key=lambda found: -found[1].sigma1)[:count]


def relative_delta(report: DeltaReport) -> float:
    """Median over matrices of the relative delta, what `base-is-parent` decides: identical 0, unpublished as far away (2)."""
    matrices = [delta for delta in report.tensors.values() if len(delta.shape) == 2]
    known = [0.0 if delta.identical else 2.0 if delta.relative is None else delta.relative for delta in matrices]
    return statistics.median(known) if known else 0.0
