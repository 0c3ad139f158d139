from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.report.clustered_auroc import chance_of_auroc, clustered_auroc, least_auroc

FIGURES = st.lists(st.integers(0, 9), min_size=2, max_size=8)


def named(values: list[float] | list[int], letter: str) -> dict[str, float]:
    return {f"{letter}{at}": float(value) for at, value in enumerate(values)}


@given(ours=FIGURES, theirs=FIGURES)
def test_an_auroc_is_the_share_of_couples_in_order_and_lies_in_its_interval(ours: list[int], theirs: list[int]) -> None:
    above, below = named(ours, "a"), named(theirs, "b")
    found = clustered_auroc(above, below, {name: name for name in (*above, *below)})
    couples = [(a > b) + 0.5 * (a == b) for a in ours for b in theirs]
    assert found.value == pytest.approx(sum(couples) / len(couples))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_copies_within_a_cluster_add_no_certainty() -> None:
    above, below = named([3, 4, 5, 1], "a"), named([2, 0, 1, 3], "b")
    few = clustered_auroc(above, below, {name: name[1] for name in (*above, *below)})
    ours, theirs = (
        {f"{name}{copy}": value for name, value in side.items() for copy in "xyz"} for side in (above, below)
    )
    many = clustered_auroc(ours, theirs, {name: name[1] for name in (*ours, *theirs)})
    assert (many.low, many.high) == pytest.approx((few.low, few.high), abs=0.02)


def test_a_perfect_split_of_few_clusters_excludes_little() -> None:
    above, below = named([9, 9, 9], "a"), named([1, 1, 1], "b")
    found = clustered_auroc(above, below, {name: name[1] for name in (*above, *below)})
    assert found.value == found.high == 1
    assert 0.4 < found.low < 0.8


def test_figures_without_a_meaning_exclude_one_half_as_seldom_as_promised() -> None:
    random, missed = np.random.default_rng(0), 0
    for seed in range(100):
        above, below = named(random.normal(size=12).tolist(), "a"), named(random.normal(size=12).tolist(), "b")
        found = clustered_auroc(above, below, {name: name[1:] for name in (*above, *below)}, seed)
        missed += not found.low <= 0.5 <= found.high
    assert missed <= 10


def test_many_subjects_tell_smaller_aurocs() -> None:
    assert least_auroc(3, 9) > least_auroc(24, 36) > 0.5
    # of 24 and 36: 2.8 standard errors of sqrt(61 / (12 x 24 x 36)) = 0.0767
    assert least_auroc(24, 36) == pytest.approx(0.5 + 2.8016 * 0.0767, abs=1e-3)


def test_equal_figures_are_no_surprise() -> None:
    assert chance_of_auroc(named([1, 1], "a"), named([1, 1, 1], "b")) == 1
    assert chance_of_auroc(named([9, 8, 7, 9], "a"), named([1, 2, 3, 4], "b")) < 0.05


def test_families_of_two_kinds_are_drawn_as_wholes() -> None:
    """In half of them both figures are extreme, in half the twin wins: with a share s of the first kind 1 - (1 - s)^2 win.

    Of 24 draws with a chance of one half 7 to 17 are the middle 95 % (6 or fewer: 1.1 %, 7 or fewer: 3.2 %).
    """
    above, below = named([3, 1] * 12, "a"), named([0, 2] * 12, "b")
    found = clustered_auroc(above, below, {name: name[1:] for name in (*above, *below)})
    assert found.value == pytest.approx(1 - (12 / 24) ** 2)
    assert (found.low, found.high) == pytest.approx((1 - (17 / 24) ** 2, 1 - (7 / 24) ** 2))


def test_figures_that_all_tie_say_nothing_for_either_side() -> None:
    above, below = named([1] * 40, "a"), named([1] * 40, "b")
    found = clustered_auroc(above, below, {name: name for name in (*above, *below)})
    assert found.value == 0.5
    assert found.high - 0.5 == pytest.approx(0.5 - found.low)
    assert found.high < 0.7


def test_chance_is_the_same_whichever_side_lies_higher() -> None:
    above, below = named([9, 8, 7, 6], "a"), named([1, 2, 3, 4], "b")
    # both orders of 70 in which one side lies above the other
    assert chance_of_auroc(above, below) == chance_of_auroc(below, above) == pytest.approx(2 / 70)
