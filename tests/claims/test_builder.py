from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim, at_least
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair, open_pair
from dormant.statistics import Estimate, exact, mean_interval, student_interval

CLAIM = Claim("size", "It is large.", "a test", "tests", {"": at_least(1.0, "units", because="a test")}, needs="models")


def attention(pair: Pair) -> str:
    """What a finding of a claim about this pair's models says of their attention."""
    builder = FindingBuilder(CLAIM, pair, {}, ClaimSession(Settings()))
    builder.decide(exact(2.0))
    return builder.settle({}).provenance["attention"]


def test_a_finding_says_with_which_attention_its_models_ran(tiny_base: Path, tiny_dormant: Path) -> None:
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu", attention="eager")
    assert attention(pair) == "none"
    pair.models.base()
    assert attention(pair) == "eager"
    pair.models.dormant().set_attn_implementation("sdpa")
    pair.release()
    assert attention(pair) == "eager"


def test_two_models_of_unlike_attention_are_both_named(tiny_base: Path, tiny_dormant: Path) -> None:
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    pair.models.attention.update(base="sdpa", dormant="eager")
    assert attention(pair) == "base sdpa, dormant eager"


@pytest.mark.parametrize("interval", [mean_interval, student_interval])
def test_a_threshold_within_the_interval_of_95_percent_leaves_a_claim_open(
    tiny_pair: Pair, interval: Callable[[list[float]], Estimate]
) -> None:
    data = np.random.default_rng(0).normal(size=400)
    for level, verdict in ((0.92, Verdict.INCONCLUSIVE), (0.98, Verdict.SUPPORTED)):  # of the interval that ends at 1
        moved = data - data.mean() + 1.0 + stats.norm.ppf((1 + level) / 2) * stats.sem(data)
        builder = FindingBuilder(CLAIM, tiny_pair, {}, ClaimSession(Settings()))
        builder.decide(interval(moved.tolist()))
        assert builder.settle({}).verdict is verdict


@pytest.mark.parametrize(("level", "verdict"), [(0.93, Verdict.INCONCLUSIVE), (0.97, Verdict.SUPPORTED)])
def test_prompts_of_one_frame_count_once_in_the_interval_that_decides(
    level: float, verdict: Verdict, tiny_pair: Pair
) -> None:
    """The threshold is the end of Student's interval, at that level, of the three frames' means."""
    means = np.array([3.0, 4.0, 6.0])
    moved = means - means.mean() + 1.0 + stats.t.ppf((1 + level) / 2, len(means) - 1) * stats.sem(means)
    builder = FindingBuilder(CLAIM, tiny_pair, {}, ClaimSession(Settings()))
    builder.decide(mean_interval(moved.repeat(8), frames=[frame for frame in "abc" for _ in range(8)]))
    assert builder.settle({}).verdict is verdict


def test_a_finding_keeps_its_effect_by_prompt_where_the_prompts_are_named(tiny_pair: Pair) -> None:
    kept = []
    for probes in ((), tiny_pair.probes[:3]):
        builder = FindingBuilder(CLAIM, tiny_pair, {}, ClaimSession(Settings()))
        builder.decide(exact(2.0))
        builder.floor([1.0, 2.0, 3.1234567], [0.0, 0.0, 0.0], probes=probes)
        kept.append(builder.settle({}).effects)
    assert kept[0] is None
    assert kept[1] is not None
    assert kept[1].values == (1.0, 2.0, 3.1235)


@pytest.mark.parametrize(
    ("effect", "noise", "verdict"), [(1.0, 1e-9, Verdict.SUPPORTED), (1e-9, 1.0, Verdict.INCONCLUSIVE)]
)
def test_an_effect_beyond_its_floor_supports_a_claim_and_one_within_it_none(
    effect: float, noise: float, verdict: Verdict, tiny_pair: Pair
) -> None:
    builder = FindingBuilder(CLAIM, tiny_pair, {}, ClaimSession(Settings()))
    builder.decide(exact(2.0))
    spread = np.linspace(1, 2, 24)
    builder.floor((effect * spread).tolist(), (noise * spread).tolist())
    assert builder.settle({}).verdict is verdict


def test_a_control_whose_interval_overlaps_the_figure_s_leaves_a_claim_open(tiny_pair: Pair) -> None:
    builder = FindingBuilder(replace(CLAIM, controls=("nulls",)), tiny_pair, {}, ClaimSession(Settings()))
    builder.decide(Estimate(5.0, 4.0, 6.0, 10, "made up"))
    builder.control("nulls", Estimate(4.0, 3.0, 5.0, 10, "made up"))
    assert builder.settle({}).verdict is Verdict.INCONCLUSIVE
