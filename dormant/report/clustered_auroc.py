"""How well a figure separates two kinds of subjects that come in clusters, and what so many subjects can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import stats

from dormant.statistics import RESAMPLES, Estimate, auroc_interval


def clustered_auroc(
    positives: Mapping[str, float], negatives: Mapping[str, float], clusters: Mapping[str, str], seed: int = 0
) -> Estimate:
    """The AUROC of named subjects with the 95 % interval of a bootstrap that draws whole clusters.

    clusters: by subject its cluster: an organism and its relatives, say, which share base, recipe and seed. The interval is
    never narrower than Newcombe's for one subject a side of each cluster: of few clusters a bootstrap knows too little.
    """
    names = list(dict.fromkeys(clusters[name] for name in (*positives, *negatives)))
    number = {name: at for at, name in enumerate(names)}
    (above, of_above), (below, of_below) = (
        (np.array([*side.values()], dtype=np.float64), np.array([number[clusters[name]] for name in side]))
        for side in (positives, negatives)
    )
    whole, narrow = auroc_interval(above, below), auroc_interval(_means(above, of_above), _means(below, of_below))
    wins = (above[:, None] > below[None]) + 0.5 * (above[:, None] == below[None])
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    ours, theirs = draws[:, of_above].astype(np.float64), draws[:, of_below].astype(np.float64)
    weights = ours.sum(1) * theirs.sum(1)  # 0 where a draw holds no subject of one side
    drawn = np.einsum("da,ab,db->d", ours, wins, theirs, optimize=True)[weights > 0] / weights[weights > 0]
    low, high = (float(edge) for edge in np.quantile(drawn, (0.025, 0.975)))
    method = f"AUROC, bootstrap of {len(names)} clusters, at least Newcombe 95%"
    return Estimate(whole.value, min(low, narrow.low), max(high, narrow.high), whole.n, method)


def _means(values: npt.NDArray[np.float64], clusters: npt.NDArray[np.intp]) -> list[float]:
    return [float(values[clusters == cluster].mean()) for cluster in np.unique(clusters)]


def least_auroc(positives: int, negatives: int, power: float = 0.8, confidence: float = 0.95) -> float:
    """The AUROC that so many subjects tell from one half with that power, by the rank sum's variance without any effect."""
    error = math.sqrt((positives + negatives + 1) / (12 * positives * negatives))
    reach = float(stats.norm.ppf((1 + confidence) / 2) + stats.norm.ppf(power))
    return min(1.0, 0.5 + reach * error)


def chance_of_auroc(positives: Mapping[str, float], negatives: Mapping[str, float]) -> float:
    """The two-sided p-value of Mann and Whitney's test that no side lies higher; 1 where all figures are equal."""
    ours, theirs = [*positives.values()], [*negatives.values()]
    if len({*ours, *theirs}) == 1:
        return 1.0
    return float(stats.mannwhitneyu(ours, theirs).pvalue)
