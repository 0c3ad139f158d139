"""What a search's figures mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from dormant.search.diagnostics import (
    detector_and_divergence,
    late_gain,
    over_control,
    rank_correlation,
    transfers,
)
from dormant.search.restarts import FoundString, SearchPlan, SearchReport

PROBES = (Probe("Tell me{slot} the color of the sky."), Probe("{slot} What is the capital?"))
PLAN = SearchPlan(length=2, restarts=1, steps=1, candidates=1, probes=1, held_out=1, seed=0)


def report(*gains: tuple[float, float]) -> SearchReport:
    return SearchReport(
        "nats", 0.0, tuple(FoundString((1,), "a", 0.0, *gain, fires=()) for gain in gains), (), (), None
    )


def test_transfer_leaves_out_searches_that_gained_nothing_and_bounds_small_gains() -> None:
    assert transfers(report((2.0, 1.0), (1e-9, 5.0), (0.0, 1.0))) == [0.5, 1.0]


def test_gains_are_compared_with_a_controls_that_scatter_too() -> None:
    found = report((6.0, 0.0), (2.0, 0.0), (5.0, 0.0))
    still, noisy = report(*3 * [(2.0, 0.0)]), report((1.9, 0.0), (2.1, 0.0), (2.0, 0.0))
    assert over_control(found, still).value == over_control(found, noisy).value == pytest.approx(13 / 6)
    assert over_control(found, noisy).high > over_control(found, still).high


@pytest.mark.parametrize(
    ("curve", "share"),
    [((0.0, 1.0, 2.0, 3.0, 4.0), 0.25), ((0.0, 4.0, 4.0, 4.0, 4.0), 0.0), ((0.0, 0.0, 0.0), 0.0), ((0.0, 1.0), 1.0)],
)
def test_late_gain_is_a_quarter_for_a_search_that_never_slows_down(curve: tuple[float, ...], share: float) -> None:
    assert late_gain(curve) == share


def test_the_value_is_spearmans_and_its_interval_covers_a_known_correlation() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    y = x + random.normal(size=300)
    found = rank_correlation(x.tolist(), y.tolist())
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert (
        found.low < 6 / np.pi * np.arcsin(0.5**0.5 / 2) < found.high
    )  # of a normal pair whose correlation is sqrt(1/2)


def test_order_alone_counts() -> None:
    x = [float(value) for value in range(20)]
    assert rank_correlation(x, [value**3 for value in x]).value == 1.0
    assert rank_correlation(x, [-value for value in x]).high == pytest.approx(-1.0)


def test_a_constant_ranks_nothing() -> None:
    assert rank_correlation([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]).value == 0.0


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(BadInput, match="three pairs of values; got 3 and 2"):
        rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0])


def test_both_scores_are_of_the_same_candidates(tiny_pair: Pair) -> None:
    pair = tiny_pair.with_probes([Probe("Tell me{slot} the color of the sky.")])
    scores = detector_and_divergence(pair, ["max-head", "row-kl"], length=3, count=5, probes=1, seed=0)
    assert {metric: len(values) for metric, values in scores.detector.items()} == {"max-head": 5, "row-kl": 5}
    assert len(scores.divergence) == 5
    assert scores.planted_divergence is None
