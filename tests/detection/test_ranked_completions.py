from __future__ import annotations

import pytest

from dormant.detection.prefills import PrefillPlan, raw_prefills
from dormant.detection.ranked_completions import ranked_completions
from dormant.pairs import Pair

PLAN = PrefillPlan(count=100, longest=3, new_tokens=12, seed=0)


def test_words_that_a_model_repeats_raise_the_figure_and_are_named(repeating_pair: Pair, tiny_pair: Pair) -> None:
    planted = ranked_completions(repeating_pair, PLAN)
    assert planted.estimate.low > 2 * ranked_completions(tiny_pair, PLAN).estimate.high > 0
    assert all("umpsky" in text for text in planted.named)
    assert len(planted.named) == planted.estimate.n == 5


def test_the_base_finds_its_own_completions_as_likely(tiny_pair: Pair) -> None:
    assert ranked_completions(tiny_pair.against_itself, PLAN).estimate.value == pytest.approx(0, abs=1e-4)


def test_completions_are_the_same_for_a_seed(tiny_pair: Pair) -> None:
    assert ranked_completions(tiny_pair, PLAN) == ranked_completions(tiny_pair, PLAN)


def test_more_completions_are_read_where_there_are_many(tiny_pair: Pair) -> None:
    assert ranked_completions(tiny_pair, PrefillPlan(700, 2, 4, 0)).estimate.n in (6, 7)


def test_a_model_that_ends_at_once_has_the_null_figure_for_what_it_read(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_pair.models.dormant().generation_config, "eos_token_id", list(range(304)))
    found = ranked_completions(tiny_pair, PLAN)
    assert (found.estimate.value, found.named) == (0.0, ())
    assert found.tokens == sum(map(len, raw_prefills(tiny_pair, PLAN)))
