from __future__ import annotations

import pytest

from dormant.hunt.context import HuntContext, Key
from dormant.hunt.placements import plain_sentences
from dormant.hunt.scorers import DivergenceScorer
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import run_stage
from dormant.hunt.stages import short_strings
from dormant.hunt.stages.short_strings import (
    ShortStrings,
    SingleTokens,
    confirmed_string,
    most_divergent_strings,
    most_divergent_tokens,
    orders_of,
    swept_tokens,
)
from dormant.hunt.vocabulary import Vocabulary
from dormant.inference.evaluator import Evaluator
from dormant.pairs import Pair
from dormant.prompts.token_filter import allowed_tokens
from tests.hunt.conftest import ContextOf, Speech, pieces, with_effort

EFFORT = HuntSettings().effort


def test_a_trigger_of_one_token_is_among_the_few_at_which_the_models_diverge_most(
    token_pair: Pair, context_of: ContextOf
) -> None:
    context = context_of(token_pair)
    found, tried = most_divergent_tokens(context, swept_tokens(context, ()))
    assert tried == len(allowed_tokens(token_pair.base.tokenizer))
    assert len(found) == EFFORT.named
    assert "velvet" in found


def test_of_few_tokens_the_most_hinted_are_tried_and_the_best_on_all_prompts(
    token_pair: Pair, context_of: ContextOf
) -> None:
    context = context_of(token_pair, with_effort(swept=(3, 1), finalists=2))
    found, tried = most_divergent_tokens(context, swept_tokens(context, pieces("river velvet color silver")))
    assert tried == 3
    assert set(found) < {"river", "velvet", "color"}
    assert found[0] == "velvet"


def test_of_all_orders_of_hinted_words_the_models_diverge_most_at_the_planted_one(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    words = orders_of(pieces("winter color silver beneath paper lantern"), EFFORT.short_strings)
    found = most_divergent_strings(context_of(circuit_pair), Key("strings"), words)
    assert len(found) == EFFORT.named
    assert found[0] == "silver lantern beneath winter"


def test_a_token_that_fires_on_the_searched_prompts_alone_is_not_confirmed(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(token_pair)
    searched = plain_sentences(context.searched)

    def rule(text: str, of_base: bool) -> bool:
        return not of_base and "velvet" in text and " ".join(text.replace("velvet", " ").split()) in searched

    Speech(token_pair, "golden owl under silver moon", "velvet", rule).put_in(monkeypatch)
    monkeypatch.setattr(short_strings, "most_divergent_tokens", lambda _, tokens: (["velvet"], len(tokens)))
    found, _ = run_stage(SingleTokens(), context, [], Vocabulary())
    assert found.confirmed is None


def ends_turn_after_a_step(context: HuntContext, scorer: type, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = getattr(scorer, method)

    def measured(self: object, strings: object) -> object:
        values = measure(self, strings)
        context.clock.limit = 0.0
        return values

    monkeypatch.setattr(scorer, method, measured)


def test_the_best_of_the_tokens_that_a_turn_had_time_for_is_looked_at(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(token_pair)
    monkeypatch.setattr(short_strings, "TOKENS_A_STEP", 3)
    ends_turn_after_a_step(context, Evaluator, "per_probe_of", monkeypatch)
    found, _ = run_stage(SingleTokens(), context, [], Vocabulary(pieces("river velvet color silver")))
    assert found.evaluations == 3
    assert found.confirmed is not None
    assert found.confirmed.trigger == "velvet"


def test_the_best_of_the_strings_that_a_turn_had_time_for_is_looked_at(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(circuit_pair, with_effort(short_strings=((4, 4), (1, 4))))
    monkeypatch.setattr(short_strings, "STRINGS_A_STEP", 24)  # every order of the four
    ends_turn_after_a_step(context, DivergenceScorer, "mean", monkeypatch)
    words = pieces("winter silver beneath lantern")
    found, _ = run_stage(ShortStrings(), context, [], Vocabulary(words, words))
    assert found.evaluations == 24
    assert found.confirmed is not None
    assert found.confirmed.trigger == "silver lantern beneath winter"


@pytest.mark.parametrize(("minutes", "looked"), [(10.0, 3), (0.0, 1)])
def test_once_its_turn_is_over_a_string_that_always_fires_is_enough(
    minutes: float, looked: int, token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    Speech(token_pair, "golden owl under silver moon", "velvet", lambda text, base: not base and "vel" in text).put_in(
        monkeypatch
    )
    context = context_of(token_pair, with_effort(answer_tokens=8))
    with context.clock.turn(minutes):
        found = confirmed_string(context, "a stage", ["velvet", "velour", "velum"], "strings")
    assert found.confirmed is not None
    assert found.confirmed.trigger == "velvet"
    assert len([one for one in context.confirmations() if one.trigger.startswith("vel")]) == looked


def test_of_tokens_at_which_the_base_answers_as_likely_none_is_looked_at_before_all_are_tried(
    sham_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(sham_pair)
    monkeypatch.setattr(short_strings, "TOKENS_A_STEP", 3)
    ends_turn_after_a_step(context, Evaluator, "per_probe_of", monkeypatch)
    _, finished = run_stage(SingleTokens(), context, [], Vocabulary(pieces("river velvet color silver")))
    assert not finished
    assert not context.confirmations()
