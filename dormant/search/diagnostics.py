"""What a search's figures mean: do gains transfer, does a control gain as much, did it converge?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from dormant.errors import BadInput
from dormant.inference.candidate_effects import random_candidates
from dormant.inference.evaluator import Evaluator
from dormant.layer0 import read_layer0_pair, score
from dormant.pairs import Pair
from dormant.search.restarts import SearchReport
from dormant.statistics import RESAMPLES, Estimate, ratio_interval


def transfers(report: SearchReport) -> list[float]:
    """Held-out gain over searched gain of every restart that gained, counted from -1 to 1 lest a tiny gain outweigh all."""
    return [max(-1.0, min(1.0, string.held_out_gain / string.gain)) for string in report.found if string.gain > 0]


def over_control(report: SearchReport, control: SearchReport) -> Estimate:
    """The restarts' mean gain over that of the control pair's restarts; its interval carries the scatter of both."""
    ours, theirs = ([string.gain for string in side.found] for side in (report, control))
    return ratio_interval(ours, theirs)


def late_gain(curve: Sequence[float]) -> float:
    """The share of a search's whole gain that its last quarter of steps brought; 0 for a search that gained nothing.

    curve: the best value after the first batch and after every step.
    """
    steps = len(curve) - 1
    whole = curve[-1] - curve[0]
    return (curve[-1] - curve[steps - max(1, steps // 4)]) / whole if whole > 0 else 0.0


@dataclass(frozen=True)
class Scores:
    """Layer-0 scores by metric, and the mean divergence over probes, of the same candidates; then those of the trigger."""

    detector: Mapping[str, tuple[float, ...]]
    divergence: tuple[float, ...]
    planted_detector: Mapping[str, float]
    planted_divergence: float | None


def detector_and_divergence(
    pair: Pair, metrics: Sequence[str], length: int, count: int, probes: int, seed: int
) -> Scores:
    """Scores `count` random candidates that survive in the first `probes`, in the detector's unit and in nats."""
    layer0 = read_layer0_pair(pair.base, pair.dormant)  # first: it says at once whom it does not serve
    prompter, chosen = pair.prompter, pair.probes[:probes]
    candidates = random_candidates(prompter, chosen, length, count, seed)
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in chosen])
    ids = torch.tensor(candidates)
    detector = {metric: tuple(score(layer0, ids, metric).tolist()) for metric in metrics}
    divergence = tuple(evaluator.evaluate(candidates).tolist())
    if pair.truth is None or not pair.truth.trigger:
        return Scores(detector, divergence, {}, None)
    planted = [prompter.candidate_ids(pair.truth.trigger)]
    scored = {metric: float(score(layer0, torch.tensor(planted), metric)[0]) for metric in metrics}
    return Scores(detector, divergence, scored, float(evaluator.evaluate(planted)[0]))


def rank_correlation(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Estimate:
    """Spearman's correlation with its bootstrap interval; 0 where either is the same everywhere, for it then ranks nothing.

    Raises BadInput for fewer than three pairs of values or unequal numbers of them.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if x.shape != y.shape or x.size < 3:
        raise BadInput(
            f"a correlation needs at least three pairs of values; got {x.size} and {y.size} at the correlation; "
            "measure both of the same candidates"
        )
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(0.0, 0.0, 0.0, int(x.size), "one of the two is constant")
    # Resampled once with its ranks taken anew each time: ties of a resample are the bootstrap's own.
    indices = np.random.default_rng(seed).integers(x.size, size=(RESAMPLES, x.size))
    ranks = [stats.rankdata(values[indices], axis=1) for values in (x, y)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    sums = [np.sqrt((part**2).sum(axis=1)) for part in centred]
    resampled = (centred[0] * centred[1]).sum(axis=1) / np.maximum(sums[0] * sums[1], 1e-300)
    low, high = np.quantile(resampled, [0.025, 0.975])
    value = float(stats.spearmanr(x, y).statistic)
    return Estimate(value, float(low), float(high), int(x.size), "Spearman, bootstrap percentile 95%")
