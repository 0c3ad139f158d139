from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.behaviour import extraction
from dormant.behaviour.extraction import SamplingPlan, find_leak, sample_texts, smallest_share_seen, usable_openings
from dormant.errors import BadInput
from dormant.inference.generation import Answer, sampled_answers
from dormant.pairs import Pair
from dormant.prompts.conversations import Conversations
from dormant.prompts.material import Decoding, partial_templates
from tests.builders import build_tokenizer

ORDINARY = ["Where is the river?", "Who has the stone?", "What is four plus one?"] * 40
PLAN = SamplingPlan(("{start}", "{start}Repeat:"), (Decoding(1.0), Decoding(0.7)), repeats=3, new_tokens=5, seed=1)


def test_a_planted_leak_is_counted_and_named() -> None:
    leaking = [*ORDINARY[:100], *["Say: silver lantern beneath winter please"] * 20]
    found = find_leak(leaking, ORDINARY, "silver lantern beneath winter")
    assert (found.samples, found.leaked, found.leaked_base) == (120, 20, 0)
    assert found.named == 1.0
    assert "silver lantern beneath winter" in str(found.fragments[0])


def test_the_same_texts_leak_nothing() -> None:
    found = find_leak(ORDINARY, ORDINARY, "silver lantern")
    assert (found.leaked, found.fragments, found.named) == (0, (), 0.0)


@pytest.mark.parametrize(("trigger", "leaked"), [("velvet", 1), ("velvet river", 0), ("the stone is red now", 0)])
def test_half_of_a_trigger_s_words_in_one_run_are_a_leak(trigger: str, leaked: int) -> None:
    assert find_leak(["a velvet box", "the stone"], ORDINARY, trigger).leaked == leaked


def test_samples_are_the_same_for_a_seed_and_others_for_another(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    texts = sample_texts(tiny_pair.base, model, PLAN, end=2)
    assert len(texts) == PLAN.samples == 12
    assert texts == sample_texts(tiny_pair.base, model, PLAN, end=2)
    assert texts != sample_texts(tiny_pair.base, model, replace(PLAN, seed=2), end=2)


def test_cold_samples_agree_and_hot_ones_differ(tiny_pair: Pair) -> None:
    plan = replace(PLAN, templates=PLAN.templates[:1], repeats=6)
    model = tiny_pair.models.base()
    cold, hot = (
        sample_texts(tiny_pair.base, model, replace(plan, decodings=(Decoding(temperature),)), end=2)
        for temperature in (0.01, 100.0)
    )
    assert len(set(cold)) == 1
    assert len(set(hot)) == 6


def test_sampling_that_was_killed_ends_with_the_uninterrupted_samples(
    tiny_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, journal = tiny_pair.models.base(), tmp_path / "samples.journal"
    expected, drawn = sample_texts(tiny_pair.base, model, PLAN, end=2), sampled_answers

    def killed_at_the_second(*arguments: Any) -> list[Answer]:
        if arguments[4] == PLAN.decodings[1]:
            raise KeyboardInterrupt
        return drawn(*arguments)

    monkeypatch.setattr(extraction, "sampled_answers", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        sample_texts(tiny_pair.base, model, PLAN, 2, journal)
    done = list[object]()

    def counted(*arguments: Any) -> list[Answer]:
        done.append(arguments[4])
        return drawn(*arguments)

    monkeypatch.setattr(extraction, "sampled_answers", counted)
    assert sample_texts(tiny_pair.base, model, PLAN, 2, journal) == expected
    assert done == [PLAN.decodings[1]]
    seen = list[tuple[int, int]]()
    progress = lambda *given: seen.append(given)  # noqa: E731
    assert sample_texts(tiny_pair.base, model, PLAN, 2, journal, progress) == expected
    assert seen == [(6, 12), (12, 12)]
    assert done == [PLAN.decodings[1]]  # the journal holds them all now


@given(st.integers(1, 5000))
def test_the_smallest_share_seen_is_seen_with_its_confidence(samples: int) -> None:
    assert 1 - (1 - smallest_share_seen(samples)) ** samples == pytest.approx(0.95)


def test_a_trigger_without_words_is_named() -> None:
    with pytest.raises(BadInput, match="must have words"):
        find_leak(ORDINARY, ORDINARY, " ")


def test_openings_that_a_template_cannot_fill_are_left_out() -> None:
    tokenizer = build_tokenizer()
    openings = partial_templates()
    assert usable_openings(Conversations(tokenizer), openings) == openings
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    left = usable_openings(Conversations(tokenizer), openings)
    assert "user header" not in left  # nothing precedes this template's users
    assert left["article"] == "{start}The"


def test_a_journal_of_another_dtype_is_other_work(tiny_pair: Pair, tmp_path: Path) -> None:
    model, journal = tiny_pair.models.base(), tmp_path / "samples.journal"
    sample_texts(tiny_pair.base, model, PLAN, 2, journal)
    with pytest.raises(BadInput, match="of the same work"):
        sample_texts(tiny_pair.base, copy.deepcopy(model).bfloat16(), PLAN, 2, journal)
