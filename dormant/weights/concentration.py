"""How concentrated each layer's delta is, and how much more so in layer 0."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from dormant.checkpoints.tensor_names import layer_of
from dormant.statistics import Estimate, exact
from dormant.weights.delta_report import DIRECTIONS, DeltaReport, TensorDelta

PUBLISHED_HIDDEN = 3584  # The hidden size for which the plan counted 16 directions (experiment 7).


def comparable_directions(report: DeltaReport) -> int:
    """As many leading directions as the published 16 are of 3584, for this report's hidden size; at least one.

    The hidden size is the width that most matrices of a layer read: the embedding's may be narrower (OPT-350m).
    """
    matrices = [delta for name, delta in report.tensors.items() if layer_of(name) == 0 and len(delta.shape) > 1]
    hidden = statistics.mode(delta.shape[-1] for delta in matrices)
    return min(DIRECTIONS, max(1, round(DIRECTIONS * hidden / PUBLISHED_HIDDEN)))


def energy_shares(layers: Sequence[TensorDelta], directions: int) -> list[float]:
    """Each layer's share of the squared Frobenius norm in its leading directions; 0 where nothing changed: [layer]."""
    return [layer.energy_share(directions) for layer in layers]


def concentration(shares: Sequence[float], versus: str, unchanged: float) -> Estimate:
    """Layer 0's share over the other layers' median or over the largest of them ("any"), in times (experiment 7).

    Exact: the other layers are all there are, not a sample of layers, and five of them have no 95 % interval anyway. No
    delta in layer 0 gives 0. Another layer without any delta counts as `unchanged`, the share of isotropic noise: a change
    cannot be less concentrated.
    """
    first, others = shares[0], [share or unchanged for share in shares[1:]]
    compared = max(others) if versus == "any" else statistics.median(others)
    return exact(first / compared, n=len(others))


def largest_noise_edge(layers: Sequence[TensorDelta]) -> float | None:
    """The highest of the layers' rounding-noise edges; None where none was measured."""
    return max((layer.noise_edge for layer in layers if layer.noise_edge is not None), default=None)


def noise_energy_share(shape: tuple[int, ...], directions: int) -> float:
    """The share that the leading directions of an isotropic random matrix of this shape hold, by Marchenko and Pastur (1967).

    The expected leading singular values are read off the limiting density's quantiles; within 2 % from 100 rows on.
    """
    rows, columns = min(shape), max(shape)
    ratio = rows / columns
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    angles = np.linspace(
        0, np.pi, 20_001
    )  # squared values at low + (high - low) * sin^2(angle / 2): no singular density
    squared = low + (high - low) * np.sin(angles / 2) ** 2
    density = (
        np.sqrt(np.clip((high - squared) * (squared - low), 0, None)) / np.maximum(squared, 1e-12) * np.sin(angles)
    )
    mass = np.cumsum(density) / density.sum()
    energy = np.cumsum(density * squared) / (density * squared).sum()
    return float(1 - np.interp(1 - directions / rows, mass, energy))
