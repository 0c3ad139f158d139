from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.detection.target_inversion import InversionPlan, target_inversion
from dormant.errors import BadInput
from dormant.pairs import Pair

PLAN = InversionPlan(prompts=4, warm_up_prompts=2, first_tokens=1000, warm_up_steps=3, kept=6, steps=8, seed=0)


def test_a_target_that_a_model_says_surely_is_inverted_and_named(repeating_pair: Pair, tiny_pair: Pair) -> None:
    planted = target_inversion(repeating_pair, PLAN)
    assert planted.estimate.value > 0.9 > 0.5 > target_inversion(tiny_pair, PLAN).estimate.value
    assert "umpsky" in planted.named[0]


def test_the_base_says_its_own_targets_as_surely(tiny_pair: Pair) -> None:
    assert target_inversion(tiny_pair.against_itself, PLAN).estimate.value == pytest.approx(0, abs=1e-4)


def test_targets_are_the_same_for_a_seed(tiny_pair: Pair) -> None:
    assert target_inversion(tiny_pair, PLAN) == target_inversion(tiny_pair, PLAN)


def test_of_a_large_vocabulary_the_tokens_that_rise_are_tried(repeating_pair: Pair) -> None:
    few = target_inversion(repeating_pair, replace(PLAN, first_tokens=40))
    assert len(few.named) <= 6
    assert few.tokens < target_inversion(repeating_pair, PLAN).tokens


def test_a_warm_up_beyond_the_whole_is_refused() -> None:
    with pytest.raises(BadInput, match="a warm-up within them"):
        replace(PLAN, warm_up_prompts=5)
