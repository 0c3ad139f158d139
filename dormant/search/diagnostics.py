"""What a search's figures mean: do gains transfer, does a control gain as much, did it converge, could it have arrived?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from scipy import stats
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.candidate_effects import random_candidates
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import named_objective
from dormant.layer0 import read_layer0_pair, score
from dormant.pairs import Pair
from dormant.search.restarts import SearchPlan, SearchReport, candidate_tokens, open_probes, payload_ids_of
from dormant.statistics import RESAMPLES, Estimate, ratio_interval


def transfers(report: SearchReport) -> list[float]:
    """Held-out gain over searched gain of every restart that gained, counted from -1 to 1 lest a tiny gain outweigh all."""
    return [max(-1.0, min(1.0, string.held_out_gain / string.gain)) for string in report.found if string.gain > 0]


def over_control(report: SearchReport, control: SearchReport) -> Estimate:
    """The restarts' mean gain over that of the control pair's restarts; its interval carries the scatter of both."""
    return ratio_interval(*([string.gain for string in side.found] for side in (report, control)))


def late_gain(curve: Sequence[float]) -> float:
    """The share of a search's whole gain that its last quarter of steps brought; 0 for a search that gained nothing.

    curve: the best value after the first batch and after every step.
    """
    steps = len(curve) - 1
    whole = curve[-1] - curve[0]
    return (curve[-1] - curve[steps - max(1, steps // 4)]) / whole if whole > 0 else 0.0


def one_token_away(
    pair: Pair, plan: SearchPlan, draws: int = 4, hints: Int[Tensor, " token"] | None = None
) -> tuple[int, int] | None:
    """In how many of all one-token gaps of the trigger the gradient lists the missing token among its first: (hits, gaps).

    A search that would not even close the last gap says nothing by finding nothing. Each place is filled `draws` times with
    a random token. None where no trigger is known.
    """
    if pair.truth is None or not pair.truth.backdoored or not pair.truth.trigger:
        return None
    prompts = open_probes(pair, plan)[: plan.probes]
    objective = named_objective(plan.objective)
    evaluator = Evaluator(pair.models, prompts, objective, payload_ids_of(pair), plan.reduce)
    allowed = candidate_tokens(pair, plan, hints)
    planted = pair.prompter.candidate_ids(pair.truth.trigger)
    generator = torch.Generator().manual_seed(plan.seed)
    gaps = [place for place in range(len(planted)) for _ in range(draws)]
    drawn = allowed[torch.randint(allowed.numel(), (len(gaps),), generator=generator)].tolist()
    near = [(*planted[:place], token, *planted[place + 1 :]) for place, token in zip(gaps, drawn, strict=True)]
    hits = 0
    for place, slopes in zip(gaps, evaluator.gradient(near), strict=True):
        listed = allowed[slopes[place, allowed].topk(min(plan.top, allowed.numel())).indices]
        hits += bool((listed == planted[place]).any())
    return hits, len(gaps)


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
    prompter, chosen = pair.prompter, pair.probes[:probes]
    candidates = random_candidates(prompter, chosen, length, count, seed)
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in chosen])
    layer0, ids = read_layer0_pair(pair.base, pair.dormant), torch.tensor(candidates)
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
