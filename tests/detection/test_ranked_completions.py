from __future__ import annotations

from collections.abc import Sequence

import pytest

from dormant.detection import ranked_completions as module
from dormant.detection.prefills import PrefillPlan, raw_prefills
from dormant.detection.ranked_completions import ranked_completions
from dormant.inference.generation import Answer
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds

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


def test_the_figure_is_the_mean_of_the_five_largest_differences_in_nats_a_token(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind prefill number k stand 3 + k ids, and each is k nats likelier; the three ids behind number 0 are too few."""

    def nats(model: object, prefills: Sequence[TokenIds], answers: Sequence[TokenIds]) -> list[float]:
        own = model is tiny_pair.models.dormant()
        return [float(own * (start[0] - 20) * len(ids)) for start, ids in zip(prefills, answers, strict=True)]

    monkeypatch.setattr(module, "raw_prefills", lambda *_: [(20 + number,) for number in range(9)])
    said = [Answer((60 + number,) * (3 + number), False) for number in range(9)]
    monkeypatch.setattr(module, "sampled_answers", lambda *_: said)
    monkeypatch.setattr(module, "answer_log_probabilities", nats)
    found = ranked_completions(tiny_pair, PLAN)
    assert found.estimate.value == pytest.approx((8 + 7 + 6 + 5 + 4) / 5)
    assert found.estimate.n == 5
    assert found.named[0] == tiny_pair.base.tokenizer.decode([28, *(68,) * 11])
