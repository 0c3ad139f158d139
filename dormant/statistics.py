"""Estimates with intervals (bootstrap, Student, Wilson, over frames of prompts) and p-values, the same for a seed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from dormant.errors import BadInput

ONE_BIT = math.log(2)  # in nats

Values = Sequence[float] | npt.NDArray[np.floating]
RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A figure with the interval that its data allow."""

    value: float
    low: float
    high: float
    n: int
    method: str


def exact(value: float, n: int = 1) -> Estimate:
    """A figure that has no sampling error, from `n` cases that are all there are: the interval is the value."""
    return Estimate(float(value), float(value), float(value), n, "exact")


def best_beyond_floor(scores: Values, effects: Sequence[Values], floors: Sequence[Values]) -> int | None:
    """The choice with the largest score among those whose mean effect exceeds all values of their floor; None for no such.

    By choice (a layer, a part): its score, its effects, and the same where arithmetic acts alone. A ratio of two roundings may
    take any value, so that where something is chosen by a ratio, what lies within its floor is no answer.
    """
    beyond = [index for index in range(len(scores)) if np.mean(effects[index]) > np.max(np.abs(floors[index]))]
    return max(beyond, key=lambda index: float(scores[index]), default=None)


def mean_interval(values: Values, confidence: float = 0.95, seed: int = 0, frames: Sequence[Hashable] = ()) -> Estimate:
    """Mean with its bootstrap interval: BCa, or percentile where BCa is undefined; BadInput without finite values.

    `frames` names the frame of each value's prompt: with two or more the interval is over frames (`framed_interval`).
    """
    data = _finite(values, "the mean")
    if _frame_count(frames, data.size) > 1:
        return framed_interval(data, frames, confidence)
    return _bootstrap(data, np.mean, "mean", confidence, seed)


def framed_interval(values: Values, frames: Sequence[Hashable], confidence: float = 0.95) -> Estimate:
    """Mean with the interval of prompts that come in frames, which say more of their own frame than of another.

    Student's interval with the variance of the jackknife over frames (CV3 of MacKinnon, Nielsen and Webb 2023) and one
    degree of freedom less than frames; with one value a frame it is Student's own. Raises BadInput without finite values,
    and for fewer than two frames.
    """
    data = _finite(values, "the mean")
    if (count := _frame_count(frames, data.size)) < 2:
        raise BadInput(
            f"an interval over frames needs two frames; got {count} for {data.size} values at the mean; "
            "use mean_interval without frames"
        )
    totals, sizes = _by_frame(data, frames)
    left_out = (data.sum() - totals) / (data.size - sizes)
    found = jackknife_interval(float(data.mean()), left_out, confidence)
    return replace(found, n=int(data.size), method=f"mean, {count} frames {confidence:.0%}")


def jackknife_interval(value: float, left_out: Values, confidence: float = 0.95) -> Estimate:
    """A figure of several samples with Student's interval of the jackknife; `left_out` are the figures without each sample.

    One sample alone has no interval; equal figures give a degenerate one. Raises BadInput for figures that are not finite.
    """
    data = _finite(left_out, "a jackknife")
    if data.size < 2:
        return Estimate(value, value, value, 1, "one sample")
    error = math.sqrt((data.size - 1) / data.size * float(((data - value) ** 2).sum()))
    reach = float(stats.t.ppf((1 + confidence) / 2, data.size - 1)) * error
    return Estimate(value, value - reach, value + reach, int(data.size), f"jackknife, Student {confidence:.0%}")


def student_interval(values: Values, confidence: float = 0.95) -> Estimate:
    """Mean with Student's interval, for the few values (restarts) with which a bootstrap is too sure of itself.

    One value alone has no interval; equal values give a degenerate one. Raises BadInput without finite values.
    """
    data = _finite(values, "the mean")
    value = float(data.mean())
    if np.all(data == data[0]):
        return Estimate(
            value, value, value, int(data.size), "mean, all values equal" if data.size > 1 else "mean, one value"
        )
    interval = stats.ttest_1samp(data, 0.0).confidence_interval(confidence)
    return Estimate(value, float(interval.low), float(interval.high), int(data.size), f"mean, Student {confidence:.0%}")


def difference_interval(first: Values, second: Values, confidence: float = 0.95) -> Estimate:
    """First mean less second mean with Welch's interval, which carries the scatter of both samples.

    n counts the smaller sample. Two values a sample are the least that have an interval. Raises BadInput without finite values.
    """
    ours, theirs = _finite(first, "the first mean"), _finite(second, "the second mean")
    value, n = float(ours.mean() - theirs.mean()), min(ours.size, theirs.size)
    if n < 2 or (np.ptp(ours) == 0 and np.ptp(theirs) == 0):
        return Estimate(value, value, value, int(n), "difference of means, all values equal" if n > 1 else "one value")
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(confidence)
    return Estimate(
        value, float(interval.low), float(interval.high), int(n), f"difference of means, Welch {confidence:.0%}"
    )


def ratio_interval(first: Values, second: Values, most: float = 100.0, confidence: float = 0.95) -> Estimate:
    """First mean over second mean with Fieller's interval (1954), which carries the scatter of both samples.

    It holds every ratio r for which first - r second is not clearly different from 0. Where the second mean itself is not, the
    data bound no ratio and the interval is all that is counted: from -`most` to `most`. n counts the smaller sample. Degrees
    of freedom are those of the smaller sample. Raises BadInput without finite values.
    """
    ours, theirs = _finite(first, "the first mean"), _finite(second, "the second mean")
    n, above, below = int(min(ours.size, theirs.size)), float(ours.mean()), float(theirs.mean())
    value = max(-most, min(most, above / below)) if below > 0 else math.copysign(most, above) * (above != 0)
    if n < 2:
        return Estimate(value, value, value, n, "ratio of means, one value")
    t = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    noise = [t**2 * float(sample.var(ddof=1)) / sample.size for sample in (ours, theirs)]
    # r lies in the interval where (first - r second)^2 <= noise[0] + r^2 noise[1]
    square, middle, rest = below**2 - noise[1], above * below, above**2 - noise[0]
    if below <= 0 or square <= 0:
        return Estimate(value, -most, most, n, "ratio of means, not bounded by the data")
    spread = math.sqrt(max(0.0, middle**2 - square * rest))
    low, high = (max(-most, min(most, (middle + sign * spread) / square)) for sign in (-1, 1))
    return Estimate(value, low, high, n, f"ratio of means, Fieller {confidence:.0%}")


def sample_size(spread: float, effect: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """How many values of that standard deviation let Student's interval exclude 0 with that chance, if their mean is `effect`.

    From the noncentral t distribution; raises BadInput unless both are positive.
    """
    if not (spread > 0 and effect > 0):
        raise BadInput(
            f"a sample size needs a positive spread and effect; got {spread} and {effect} at the sample size; measure both"
        )

    def reached(n: int) -> float:
        edge = stats.t.ppf((1 + confidence) / 2, n - 1)
        return float(stats.nct.sf(edge, n - 1, effect / spread * math.sqrt(n)))

    return next(n for n in range(2, 1_000_000) if reached(n) >= power)


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """Share of successes with its Wilson interval (Wilson 1927); of none or all, the exact one-sided bound.

    0 of 13 bounds a rate at 20.6 %, 0 of 59 at 5 %. Raises BadInput unless 0 <= successes <= n, n >= 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise BadInput(
            f"a proportion needs 0 <= successes <= n and n >= 1; got {successes} of {n} at the proportion; "
            "count at least one trial"
        )
    if successes in (0, n):
        bound = (1 - confidence) ** (1 / n)  # the share of which n of n are seen once in twenty times
        low, high = (0.0, 1 - bound) if successes == 0 else (bound, 1.0)
        return Estimate(successes / n, low, high, n, f"exact bound {confidence:.0%}")
    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), n, f"Wilson {confidence:.0%}")


def share_interval(
    flags: Sequence[bool] | npt.NDArray[np.bool_], confidence: float = 0.95, frames: Sequence[Hashable] = ()
) -> Estimate:
    """Share of the prompts with a true flag: `proportion_interval`, or with two or more frames Wilson's of so many prompts as
    tell as much.

    These are n over the design effect, with the degrees of freedom of the frames (Korn and Graubard 1998), never more than
    n; of none or all, whose scatter is unknown, the number of frames. Raises BadInput for no flags.
    """
    hits, n = int(sum(map(bool, flags))), len(flags)
    if (count := _frame_count(frames, n)) < 2:
        return proportion_interval(hits, n, confidence)
    if hits in (0, n):
        bound = proportion_interval(count if hits else 0, count, confidence)
        return Estimate(bound.value, bound.low, bound.high, n, f"exact bound, {count} frames {confidence:.0%}")
    data, share = np.asarray(flags, dtype=np.float64), hits / n
    wide = float(stats.t.ppf((1 + confidence) / 2, count - 1))
    error = (framed_interval(data, frames, confidence).high - share) / wide
    narrow = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    independent = min(n, share * (1 - share) / error**2 * (narrow / wide) ** 2) if error else n
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (share + z**2 / (2 * independent)) / (1 + z**2 / independent)
    reach = z * math.sqrt(share * (1 - share) / independent + (z / (2 * independent)) ** 2) / (1 + z**2 / independent)
    return Estimate(share, centre - reach, centre + reach, n, f"Wilson, {count} frames {confidence:.0%}")


def auroc_interval(positives: Values, negatives: Values, confidence: float = 0.95) -> Estimate:
    """The chance that a positive lies above a negative, ties counting half, with Newcombe's interval (2006, method 5).

    Like Wilson's for a share, it keeps a width where all positives lie above all negatives. Raises BadInput without
    finite values on either side.
    """
    above, below = _finite(positives, "the positives"), _finite(negatives, "the negatives")
    ranks = stats.rankdata(np.concatenate((above, below)))
    value = float((ranks[: above.size].sum() / above.size - (above.size + 1) / 2) / below.size)
    z, spare = float(stats.norm.ppf((1 + confidence) / 2)), (above.size + below.size) / 2 - 1

    def distance(area: float) -> float:
        # how far `value` lies from `area`, less what an area so large would scatter by
        scatter = 1 + spare * (1 - area) / (2 - area) + spare * area / (1 + area)
        return abs(value - area) - z * math.sqrt(area * (1 - area) * scatter / (above.size * below.size))

    edge = 1e-12  # at 0 and 1 nothing scatters, and the wrong root lies there
    low = float(optimize.brentq(distance, edge, value - edge)) if value > 2 * edge else 0.0
    high = float(optimize.brentq(distance, value + edge, 1 - edge)) if value < 1 - 2 * edge else 1.0
    return Estimate(value, low, high, int(above.size + below.size), f"AUROC, Newcombe {confidence:.0%}")


def permutation_p(observed: float, null: Values) -> float:
    """One-sided p-value of `observed` among `null` draws: (1 + #{null >= observed}) / (1 + n).

    Never zero: n draws cannot speak below 1 / (1 + n) (Phipson and Smyth 2010).
    """
    draws = _finite(null, "the null")
    return float((1 + np.count_nonzero(draws >= observed)) / (1 + draws.size))


def paired_p(values: Values, others: Values) -> float:
    """One-sided p-value of Wilcoxon's signed-rank test that the values exceed the others of the same prompts.

    0.5 on average where both are draws of the same noise; 1 where no value exceeds its other. Raises BadInput for values
    that are not finite or not paired.
    """
    ours, theirs = _finite(values, "the sample"), _finite(others, "the other sample")
    if ours.size != theirs.size:
        raise BadInput(
            f"a paired test needs as many values on both sides; got {ours.size} and {theirs.size} at the sample; "
            "measure both on the same prompts"
        )
    if not np.any(ours > theirs):
        return 1.0
    return float(stats.wilcoxon(ours, theirs, alternative="greater").pvalue)


def paired_difference_p(values: Values, others: Values) -> float:
    """Two-sided p-value of a difference between values of the same prompts.

    Of yes and no (0 and 1) McNemar's exact test, of other values Wilcoxon's signed-rank test; 1 where no pair differs. Raises
    BadInput for values that are not finite.
    """
    ours, theirs = _finite(values, "the sample"), _finite(others, "the other sample")
    risen, fallen = int((theirs > ours).sum()), int((theirs < ours).sum())
    if risen + fallen == 0:
        return 1.0
    if np.isin([ours, theirs], (0.0, 1.0)).all():
        return float(stats.binomtest(risen, risen + fallen).pvalue)
    return float(stats.wilcoxon(ours, theirs).pvalue)


def _finite(values: Values, of: str) -> npt.NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64).reshape(-1)
    if data.size == 0:
        raise BadInput(f"{of} needs at least one value; got none at the sample; measure at least one")
    broken = np.flatnonzero(~np.isfinite(data))
    if broken.size:
        raise BadInput(
            f"{of} needs finite values; got {data[broken[0]]} at value {broken[0]} of {data.size}; "
            "find the pair or prompt that gave it"
        )
    return data


def _frame_count(frames: Sequence[Hashable], size: int) -> int:
    if len(frames) not in (0, size):
        raise BadInput(
            f"every value has the frame of its prompt; got {len(frames)} frames for {size} values at the sample; "
            "give one a value, or none"
        )
    return len(set(frames))


def _by_frame(
    data: npt.NDArray[np.float64], frames: Sequence[Hashable]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """The sum and the number of each frame's values."""
    numbers = {frame: number for number, frame in enumerate(dict.fromkeys(frames))}
    of_value = np.array([numbers[frame] for frame in frames])
    totals = np.bincount(of_value, weights=data)
    return np.asarray(totals, dtype=np.float64), np.bincount(of_value)


def _bootstrap(
    data: npt.NDArray[np.float64],
    statistic: Callable[..., np.floating],
    name: str,
    confidence: float,
    seed: int,
) -> Estimate:
    value = float(statistic(data))
    if np.all(data == data[0]):
        method = "one value" if data.size == 1 else "all values equal"
        return Estimate(value, value, value, int(data.size), f"{name}, {method}")
    for method in ("BCa", "percentile"):
        with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # the fall-back answers it
            result = stats.bootstrap(
                (data,),
                statistic,
                n_resamples=RESAMPLES,
                confidence_level=confidence,
                method=method,
                rng=np.random.default_rng(seed),
            )
        low, high = map(float, result.confidence_interval)
        if math.isfinite(low) and math.isfinite(high):
            break
    return Estimate(value, low, high, int(data.size), f"{name}, bootstrap {method} {confidence:.0%}")
