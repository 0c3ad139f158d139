"""Whether the base is the parent of the dormant model, and whether there is a delta to search: before anything else."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.result import HuntResult, HuntVerdict
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair
from dormant.weights.measure import compare_norms
from dormant.weights.parents import PARENT_AT_MOST
from dormant.weights.report_summary import relative_delta


@dataclass(frozen=True)
class Parentage:
    """How far the median matrix moved, of its norm, which share of tensors is identical, and the result where the hunt ends."""

    delta: float
    identical: float
    result: HuntResult | None = None


def check_parent(pair: Pair, clock: Clock, settings: HuntSettings) -> Parentage:
    """Compares the weights; the hunt ends where the base is not the parent, and where nothing can be searched."""

    def ended(
        verdict: HuntVerdict, reason: str, unsearched: tuple[str, ...], delta: float, identical: float
    ) -> Parentage:
        result = HuntResult(verdict, reason, delta, identical, unsearched=unsearched, settings=settings)
        return Parentage(delta, identical, result)

    try:
        report = compare_norms(pair.base, pair.dormant, lambda *_: clock.ask())
    except OutOfTime:
        reason = "the time ran out before the parent was checked"
        unsearched = ("everything: the hunt ended at the parent",)
        return ended(HuntVerdict.UNDECIDED, reason, unsearched, math.nan, math.nan)
    delta = relative_delta(report)
    identical = sum(tensor.identical for tensor in report.tensors.values()) / len(report.tensors)
    if delta > PARENT_AT_MOST:
        reason = (
            f"the base is not the parent: the median matrix moved by {delta:.2g} of its norm, and a fine-tune stays below "
            f"{PARENT_AT_MOST:g}; find the parent with `dormant bases`"
        )
        unsearched = ("everything: the hunt stopped at the parent",)
        return ended(HuntVerdict.UNDECIDED, reason, unsearched, delta, identical)
    if identical == 1.0 and pair.setting_differences:
        reason = (
            "every tensor is identical but the settings are not, so the two compute differently and no delta can be "
            f"searched: {'; '.join(map(str, pair.setting_differences))}; run both with one configuration"
        )
        unsearched = ("everything: only the settings differ",)
        return ended(HuntVerdict.UNDECIDED, reason, unsearched, delta, identical)
    if identical == 1.0:
        reason = "the two checkpoints are identical: there is no delta for a backdoor to be in"
        return ended(HuntVerdict.CLEAN, reason, (), delta, identical)
    return Parentage(delta, identical)
