from __future__ import annotations

import pytest

from dormant.hunt.context import Key
from dormant.hunt.placements import plain_sentences
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import run_stage
from dormant.hunt.stages import short_strings
from dormant.hunt.stages.short_strings import SingleTokens, most_divergent_strings, most_divergent_tokens
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from dormant.prompts.token_filter import allowed_tokens
from tests.hunt.conftest import ContextOf, Speech, pieces, with_effort

EFFORT = HuntSettings().effort


def test_a_trigger_of_one_token_is_among_the_few_at_which_the_models_diverge_most(
    token_pair: Pair, context_of: ContextOf
) -> None:
    found, tried = most_divergent_tokens(context_of(token_pair), ())
    assert tried == len(allowed_tokens(token_pair.base.tokenizer))
    assert len(found) == EFFORT.named
    assert "velvet" in found


def test_of_few_tokens_the_most_hinted_are_tried_and_the_best_on_all_prompts(
    token_pair: Pair, context_of: ContextOf
) -> None:
    context = context_of(token_pair, with_effort(swept=(3, 1), finalists=2))
    found, tried = most_divergent_tokens(context, pieces("river velvet color silver"))
    assert tried == 3
    assert set(found) < {"river", "velvet", "color"}
    assert found[0] == "velvet"


def test_of_all_orders_of_hinted_words_the_models_diverge_most_at_the_planted_one(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    words = pieces("winter color silver beneath paper lantern")
    found = most_divergent_strings(context_of(circuit_pair), Key("strings"), words, EFFORT.short_strings)
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
    monkeypatch.setattr(short_strings, "most_divergent_tokens", lambda *_: (["velvet"], 1))
    found, _ = run_stage(SingleTokens(), context, [], Vocabulary())
    assert found.confirmed is None
