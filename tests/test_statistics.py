"""Intervals and p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dormant.errors import BadInput
from dormant.statistics import (
    auroc_interval,
    best_beyond_floor,
    difference_interval,
    exact,
    framed_interval,
    mean_interval,
    paired_difference_p,
    paired_p,
    permutation_p,
    proportion_interval,
    ratio_interval,
    sample_size,
    share_interval,
    student_interval,
)

values = st.lists(st.floats(-100, 100), min_size=1, max_size=8)


@settings(max_examples=25)
@given(values)
def test_an_interval_is_finite_and_ordered(data: list[float]) -> None:
    estimate = mean_interval(data)
    assert np.isfinite([estimate.low, estimate.high]).all()
    assert estimate.low <= estimate.high
    assert estimate.n == len(data)


def test_the_same_seed_gives_the_same_interval() -> None:
    data = np.random.default_rng(0).normal(size=20)
    assert mean_interval(data, seed=3) == mean_interval(data, seed=3)
    assert mean_interval(data, seed=3) != mean_interval(data, seed=4)


def test_equal_values_and_exact_figures_have_no_width() -> None:
    equal, figure = mean_interval([2.5] * 9), exact(16)
    assert (equal.low, equal.value, equal.high) == (2.5, 2.5, 2.5)
    assert (figure.low, figure.value, figure.high, figure.method) == (16.0, 16.0, 16.0, "exact")


def test_a_bootstrap_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    estimates = [mean_interval(generator.normal(3.0, 1.0, 30), seed=trial) for trial in range(100)]
    assert sum(estimate.low <= 3.0 <= estimate.high for estimate in estimates) >= 87


def test_a_bootstrap_interval_of_many_values_is_as_wide_as_the_normal_one() -> None:
    data = np.random.default_rng(0).normal(size=400)
    estimate = mean_interval(data)
    width = 2 * stats.norm.ppf(0.975) * stats.sem(data)
    assert estimate.high - estimate.low == pytest.approx(
        width, rel=0.08
    )  # 2,000 resamples: 2 % to one standard deviation


def test_students_interval_of_a_handful_is_the_t_tests() -> None:
    data = [1.0, 2.0, 4.0]
    expected = stats.ttest_1samp(data, 0.0).confidence_interval()
    estimate = student_interval(data)
    assert [estimate.low, estimate.high] == pytest.approx([expected.low, expected.high])
    assert student_interval([2.0]).low == student_interval([2.0]).high == 2.0


def framed(generator: np.random.Generator, frames: int, each: int) -> tuple[np.ndarray, list[int]]:
    """Values of mean 3 in frames whose own means scatter as much as the values do."""
    means = generator.normal(3.0, 1.0, frames).repeat(each)
    return means + generator.normal(0.0, 1.0, frames * each), np.arange(frames).repeat(each).tolist()


def test_an_interval_over_frames_covers_the_mean_where_one_over_prompts_does_not() -> None:
    generator = np.random.default_rng(0)
    drawn = [framed(generator, 8, 6) for _ in range(200)]
    over_frames = [mean_interval(values, frames=frames) for values, frames in drawn]
    over_prompts = [mean_interval(values) for values, _ in drawn]
    covered = [sum(one.low <= 3.0 <= one.high for one in each) for each in (over_frames, over_prompts)]
    assert covered[0] >= 180
    assert covered[1] < 150


def test_with_one_value_a_frame_the_interval_is_students() -> None:
    data = np.random.default_rng(1).normal(size=7)
    expected, found = student_interval(data), framed_interval(data, range(7))
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high])


def test_a_share_over_frames_is_that_of_as_many_prompts_as_tell_as_much() -> None:
    alike = share_interval([True] * 12 + [False] * 12, frames=[kind for kind in "abcd" for _ in range(6)])
    mixed = share_interval([True, False] * 12, frames=[kind for kind in "abcd" for _ in range(6)])
    assert (mixed.low, mixed.high) == pytest.approx((proportion_interval(12, 24).low, proportion_interval(12, 24).high))
    assert alike.high - alike.low > 1.5 * (mixed.high - mixed.low)
    assert share_interval([True] * 24, frames=["a", "b", "c"] * 8).low == proportion_interval(3, 3).low
    assert (
        share_interval([True, False] * 12)
        == proportion_interval(12, 24)
        == share_interval([True, False] * 12, frames=["a"] * 24)
    )


def test_frames_that_do_not_belong_to_the_values_are_named() -> None:
    with pytest.raises(BadInput, match="got 2 frames for 3 values"):
        mean_interval([1.0, 2.0, 3.0], frames=["a", "b"])
    with pytest.raises(BadInput, match="needs two frames; got 1"):
        framed_interval([1.0, 2.0], ["a", "a"])


def test_no_success_in_thirteen_still_admits_a_fifth() -> None:
    """FACTS 4, mistake 20: zero false alarms on a few models bounds the rate loosely."""
    estimate = proportion_interval(0, 13)
    assert estimate.value == estimate.low == 0.0
    assert estimate.high == pytest.approx(0.206, abs=5e-4)
    assert proportion_interval(0, 59).high == pytest.approx(0.05, abs=1e-3)
    assert proportion_interval(13, 13).low == pytest.approx(1 - 0.206, abs=5e-4)
    with pytest.raises(BadInput, match="got 3 of 2"):
        proportion_interval(3, 2)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(-10, 10))
def test_a_permutation_p_value_is_never_zero(null: list[float], observed: float) -> None:
    p = permutation_p(observed, null)
    assert 1 / (1 + len(null)) <= p <= 1
    assert p == (1 + sum(draw >= observed for draw in null)) / (1 + len(null))


@pytest.mark.parametrize("broken", [[], [1.0, float("nan")], [float("inf")]], ids=["empty", "nan", "infinite"])
def test_a_sample_without_finite_values_is_refused(broken: list[float]) -> None:
    with pytest.raises(BadInput, match="the mean needs"):
        mean_interval(broken)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_an_auroc_is_the_share_of_couples_in_order_and_lies_in_its_interval(ours: list[int], theirs: list[int]) -> None:
    found = auroc_interval(ours, theirs)
    wins = [(high > low) + (high == low) / 2 for high in ours for low in theirs]
    assert found.value == pytest.approx(sum(wins) / len(wins))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_an_auroc_of_one_keeps_an_interval_that_shrinks_with_the_sample() -> None:
    few, many = (auroc_interval([1.0] * n, [0.0] * n) for n in (8, 80))
    assert few.low < many.low < many.value == many.high == 1.0


def test_the_aurocs_interval_covers_the_truth_as_often_as_it_says() -> None:
    random, truth = np.random.default_rng(0), stats.norm.cdf(1.5 / 2**0.5)
    found = [auroc_interval(random.normal(1.5, 1, 30), random.normal(0, 1, 30)) for _ in range(400)]
    assert np.mean([estimate.low <= truth <= estimate.high for estimate in found]) == pytest.approx(0.95, abs=0.03)


def test_the_interval_of_a_difference_is_scipys_and_wider_than_that_against_a_constant() -> None:
    ours, theirs = [3.0, 5.0, 9.0], [1.0, 2.0, 6.0, 7.0]
    found = difference_interval(ours, theirs)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    against_a_constant = student_interval([value - float(np.mean(theirs)) for value in ours])
    assert found.n == 3
    assert against_a_constant.value == pytest.approx(found.value)
    assert difference_interval([2.0, 2.0], [1.0, 1.0]).low == 1.0
    assert difference_interval([2.0], [1.0, 3.0]).n == 1


def test_the_interval_of_a_ratio_holds_the_true_ratio_as_often_as_it_says() -> None:
    draws, true = np.random.default_rng(0), 2.0
    held, held_against_a_constant = 0, 0
    for _ in range(1000):
        ours, theirs = draws.normal(6.0, 1.5, 6), draws.normal(3.0, 1.0, 6)
        found, constant = ratio_interval(ours, theirs), student_interval(ours / theirs.mean())
        held += found.low <= true <= found.high
        held_against_a_constant += constant.low <= true <= constant.high
    assert held >= 930  # 950 are said, and a standard deviation is 7
    assert held_against_a_constant < 900  # a control's noisy mean is no constant


def test_a_control_that_gains_nothing_clear_bounds_no_ratio() -> None:
    found = ratio_interval([5.0, 6.0, 7.0], [-1.0, 1.0, 0.5])
    assert (found.low, found.high) == (-100.0, 100.0)


def test_a_sample_of_the_planned_size_settles_the_planned_effect_as_often_as_planned() -> None:
    n = sample_size(spread=2.0, effect=2.0)
    draws = np.random.default_rng(0)
    settled = sum(student_interval(draws.normal(2.0, 2.0, n)).low > 0 for _ in range(1000))
    assert 760 <= settled <= 870
    with pytest.raises(BadInput, match="positive spread"):
        sample_size(0.0, 1.0)


def test_a_paired_test_sees_an_effect_by_prompt_that_one_accident_does_not_make() -> None:
    noise = np.random.default_rng(0).exponential(1e-9, size=(2, 24))
    assert paired_p(noise[0] + 1e-8, noise[1]) < 1e-5
    assert paired_p(noise[0], noise[1]) > 0.05
    accident = np.where(np.arange(24) == 3, 5.0, 0.0)
    assert accident.mean() > 0.2
    assert paired_p(accident, np.full(24, 1e-9)) > 0.05
    assert paired_p(np.zeros(24), np.zeros(24)) == 1.0
    with pytest.raises(BadInput, match="got 2 and 3"):
        paired_p([1.0, 2.0], [1.0, 2.0, 3.0])


def test_a_difference_in_pairs_is_judged_on_both_sides_and_yes_or_no_by_the_pairs_that_changed() -> None:
    rising = np.arange(12.0)
    assert paired_difference_p(rising, rising + 1 + rising / 9) == pytest.approx(2 / 2**12)
    assert paired_difference_p(rising + 1 + rising / 9, rising) == pytest.approx(2 / 2**12)
    assert paired_difference_p(rising, rising) == 1.0
    before, after = np.zeros(30), np.where(np.arange(30) < 5, 1.0, 0.0)
    assert paired_difference_p(before, after) == pytest.approx(2 / 2**5)


def test_what_lies_within_its_floor_is_never_the_best_whatever_its_score() -> None:
    floors = [[1e-9, -3e-9]] * 3
    assert best_beyond_floor([9.0, 2.0, 5.0], [[2e-9, 3e-9], [1.0, 2.0], [1e-8, 1e-9]], floors) == 2
    assert best_beyond_floor([9.0, 2.0], [[3e-9], [2e-9]], floors[:2]) is None
    assert best_beyond_floor([], [], []) is None
