"""A control of layer-0 claims: the same measurement where the delta has its size and no structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from dormant.layer0.pair import Layer0Pair, shuffled_delta
from dormant.statistics import Estimate

SHUFFLED = "shuffled delta"


def under_shuffled_deltas(
    layer0: Layer0Pair, measure: Callable[[Layer0Pair], float], draws: int, seed: int
) -> Estimate:
    """The mean of a figure over shuffled deltas, with the interval in which one more would lie in 95 of 100 cases.

    A prediction interval by Student's t: the pair's own figure lies in it where its delta is such a shuffle.
    """
    values = np.array([measure(shuffled_delta(layer0, seed + draw)) for draw in range(draws)], dtype=np.float64)
    reach = stats.t.ppf(0.975, draws - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / draws)
    mean = float(values.mean())
    return Estimate(mean, mean - float(reach), mean + float(reach), draws, f"{draws} shuffles, prediction 95%")
