from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.claims.claim import at_least, at_most
from dormant.claims.decision import Floor, beats, decide, interval_side
from dormant.claims.finding import Control, Figure, Verdict

RULE = at_least(4.0, "times", because="a test")
LOW_RULE = at_most(4.0, "times", because="a test")
numbers = st.floats(-100, 100)


def figure(low: float, high: float, n: int = 10, method: str = "bootstrap") -> Figure:
    return Figure("ratio", (low + high) / 2, "times", low, high, n, method, 0.1)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(5, 6, Verdict.SUPPORTED), (4, 6, Verdict.SUPPORTED), (1, 3, Verdict.REFUTED), (3, 5, Verdict.INCONCLUSIVE)],
)
def test_the_interval_decides_not_the_value(low: float, high: float, verdict: Verdict) -> None:
    assert decide(RULE, figure(low, high), [], {})[0] is verdict


def test_a_refuted_or_invalid_premise_makes_the_claim_invalid_and_keeps_its_figure() -> None:
    for premise in (Verdict.REFUTED, Verdict.INVALID):
        verdict, reason = decide(RULE, figure(15, 17), [], {"base-is-parent": premise})
        assert verdict is Verdict.INVALID
        assert "base-is-parent" in reason
        assert "16 [15, 17] times" in reason


def test_an_inconclusive_premise_never_lets_a_claim_be_supported() -> None:
    assert decide(RULE, figure(5, 6), [], {"p": Verdict.INCONCLUSIVE})[0] is Verdict.INCONCLUSIVE
    assert decide(RULE, figure(1, 2), [], {"p": Verdict.INCONCLUSIVE})[0] is Verdict.REFUTED


def test_a_control_that_shows_the_same_effect_refutes() -> None:
    control = Control("nulls", figure(7, 8), beaten=False)
    verdict, reason = decide(RULE, figure(5, 6), [control], {})
    assert verdict is Verdict.REFUTED
    assert "nulls" in reason


def test_a_control_that_is_not_clearly_beaten_leaves_the_claim_open() -> None:
    control = Control("nulls", figure(4, 5.2), beaten=False)
    assert decide(RULE, figure(5, 6), [control], {})[0] is Verdict.INCONCLUSIVE


def test_an_inconclusive_finding_states_the_smallest_effect_it_could_have_seen() -> None:
    _, reason = decide(RULE, figure(3, 5), [], {})
    assert "n = 10 settles effects that lie 1.43 times or more from 4" in reason


def test_one_sampled_value_decides_nothing_but_one_exact_value_does() -> None:
    assert decide(RULE, figure(9, 9, n=1), [], {})[0] is Verdict.INCONCLUSIVE
    assert decide(RULE, figure(9, 9, n=1, method="exact"), [], {})[0] is Verdict.SUPPORTED


@given(low=numbers, width=st.floats(0, 50), threshold=numbers)
def test_at_most_mirrors_at_least(low: float, width: float, threshold: float) -> None:
    upper, mirrored = figure(low, low + width), figure(-low - width, -low)
    side = interval_side(at_least(threshold, "times", because=""), upper)
    assert side == interval_side(at_most(-threshold, "times", because=""), mirrored)


@given(first=numbers, second=numbers, width=st.floats(0, 50))
def test_a_figure_and_a_control_never_beat_each_other(first: float, second: float, width: float) -> None:
    one, other = figure(first, first + width), figure(second, second + width)
    assert not (beats(RULE, one, other) and beats(RULE, other, one))


@given(low=numbers, width=st.floats(0.5, 10))
def test_of_two_intervals_that_overlap_neither_beats_the_other(low: float, width: float) -> None:
    figures = figure(low, low + width), figure(low + 0.9 * width, low + 3 * width)
    assert not any(beats(rule, *pair) for rule in (RULE, LOW_RULE) for pair in (figures, figures[::-1]))


def test_an_effect_within_its_floor_supports_nothing_and_refutes_only_in_its_own_unit() -> None:
    noise, effect = Floor(1e-9, 2e-9, "nats", p=0.5), Floor(3.0, 1e-9, "nats", p=1e-4)
    verdicts = [decide(RULE, figure(*ends), [], {}, noise)[0] for ends in ((5, 6), (3, 5), (1, 2))]
    assert verdicts == [Verdict.INCONCLUSIVE] * 3
    assert decide(RULE, figure(1, 2), [], {}, Floor(1e-9, 2e-9, "times", p=0.5))[0] is Verdict.REFUTED
    assert decide(RULE, figure(5, 6), [], {}, effect)[0] is Verdict.SUPPORTED
    assert decide(RULE, figure(1, 2), [], {}, effect)[0] is Verdict.REFUTED
    assert "cannot be told from what arithmetic alone does" in decide(RULE, figure(5, 6), [], {}, noise)[1]
