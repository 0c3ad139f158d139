"""What a hunt says that it will cost, and what it leaves out where the budget is small."""

from __future__ import annotations

from dataclasses import replace
from math import perm

import pytest

from dormant.hunt.plan import PlannedStage, Sizes, planned, sizes_of
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stages.gap_filling import orders_with_a_gap
from dormant.prompts.probes import OpenPrompt

SETTINGS = HuntSettings()
LARGE = Sizes(49_152, 20.0, 6.0, 15_000)


def test_a_budget_that_suffices_leaves_the_effort_as_it_is() -> None:
    settings, stages = planned(SETTINGS, Sizes(2_000, 15.0, 5.0), 1e6)
    assert settings == SETTINGS
    assert not any(stage.left_out for stage in stages)


def test_every_stage_fits_its_share_of_a_small_budget_or_is_at_its_least() -> None:
    settings, stages = planned(SETTINGS.within(20.0), LARGE, 2_000)
    longest = {stage.name: stage.minutes for stage in stages}
    assert longest["payload"] <= 0.4 * 20
    assert longest.pop("beam search") <= 0.5 * 0.6 * 20
    assert all(minutes <= 0.3 * 0.6 * 20 for name, minutes in longest.items() if name != "payload")
    assert settings.effort.forced_rounds == settings.effort.halving
    assert settings.effort.swept[1] == 1


def test_without_a_payload_to_seek_the_delta_beam_has_more_of_the_time() -> None:
    words = [
        planned(SETTINGS.within(20.0), LARGE, 2_000, 200.0, sought)[0].effort.first_words for sought in (True, False)
    ]
    assert words[0] < words[1]


def test_hints_are_planned_for_no_more_than_their_turn() -> None:
    settings = SETTINGS.within(20.0)
    for sought in (True, False):
        _, stages = planned(settings, LARGE, 2_000, 200.0, sought)
        (hints,) = (stage for stage in stages if stage.name == "hints")
        assert hints.minutes <= settings.effort.hint_share * 200.0 / 60


def test_effort_shrinks_no_further_than_its_least_and_then_ends() -> None:
    settings, _ = planned(SETTINGS.within(0.01), LARGE, 1)
    assert settings.effort.first_tokens == 256
    assert planned(settings, LARGE, 1)[0] == settings


def test_what_a_stage_leaves_out_is_said() -> None:
    _, (payload, *_) = planned(replace(SETTINGS, effort=replace(SETTINGS.effort, minutes=1.0)), LARGE, 2_000)
    assert payload.sentence.startswith("payload: about ")
    assert "in place of 4,096" in payload.sentence
    assert PlannedStage("hints", 1_000, 0.5).sentence == "hints: about 1,000 token passes, 0.5 minutes"


def test_ids_behind_the_slot_are_read_by_position() -> None:
    start, end = OpenPrompt((1,), (2, 3, 4), (1, 2, 3, 4)), OpenPrompt((1, 2), (3,), (1, 2, 3))
    assert sizes_of(9, [start, end, start, end]) == Sizes(9, 3.0, 1.0)


def test_a_single_prompt_stands_for_both_positions() -> None:
    one = OpenPrompt((1,), (2, 3), (1, 2, 3))
    assert sizes_of(10, [one]) == Sizes(10, 2.0, 2.0)


def test_the_plan_counts_the_strings_that_stages_try() -> None:
    """Costs are linear in strings: one filler for each order with a gap, and no further piece."""
    orders, free = ((2, 4), (3, 3)), Sizes(9, 0.0, 0.0)
    effort = replace(
        SETTINGS.effort, gap_orders=orders, gap_rounds=((1, 0),), gap_pieces=0, short_strings=orders, minutes=1e9
    )
    _, stages = planned(replace(SETTINGS, effort=effort), free, 1e6)
    passes = {stage.name: stage.passes for stage in stages}
    whole = len(orders_with_a_gap(["a", "b", "c", "d"], orders))
    assert passes["gap filling"] == pytest.approx(
        whole * 2 * (5 + 4)
    )  # at both positions, five tokens and a payload's four
    assert passes["short strings"] == 2 * sum(perm(count, length) * 2 * (length + 4) for length, count in orders)
