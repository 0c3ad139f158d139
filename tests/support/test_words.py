"""Verdicts on token lists: the words must be there, beyond random tokens and random directions."""

from __future__ import annotations

import pytest
import torch

from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim, at_least
from dormant.claims.finding import Finding, Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair
from dormant.weights.token_ranking import TokenRanking, words_in_vocabulary
from hypotheses.support.words import WORD_CONTROLS, decide_by_words, has_words

RULE = at_least(0.5, "of the words", because="a test")
TEXT = "apple river stone"


def found_in(pair: Pair, ranking: TokenRanking | None) -> Finding:
    """The finding on a ranking."""
    claim = Claim("names", "A list names.", "test", "weights", {"": RULE}, controls=WORD_CONTROLS)
    builder = FindingBuilder(claim, pair, {}, ClaimSession(Settings()))
    decide_by_words(builder, ranking, TEXT, "score", list_length=6)
    return builder.settle({})


@pytest.fixture
def scores(tiny_pair: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores that put the text's words on top, and others without any preference."""
    tokenizer = tiny_pair.dormant.tokenizer
    random = torch.rand(len(tokenizer), 20, generator=torch.Generator().manual_seed(0))
    named = random[:, 0].clone()
    for group in words_in_vocabulary(tokenizer, TEXT):
        named[max(group)] += 2
    return named, random


def test_words_on_top_of_a_list_are_beyond_both_controls(
    tiny_pair: Pair, scores: tuple[torch.Tensor, torch.Tensor]
) -> None:
    finding = found_in(tiny_pair, TokenRanking(*scores))
    assert finding.verdict is Verdict.SUPPORTED
    assert [control.name for control in finding.controls] == list(WORD_CONTROLS)
    assert {figure.name for figure in finding.figures} >= {"best place of a word", "chance of such a list"}


def test_directions_that_name_the_words_by_chance_spoil_the_claim(
    tiny_pair: Pair, scores: tuple[torch.Tensor, torch.Tensor]
) -> None:
    named = scores[0]
    finding = found_in(tiny_pair, TokenRanking(named, named[:, None].expand(-1, 20)))
    assert finding.verdict is not Verdict.SUPPORTED
    assert "the control random directions" in finding.reason


def test_words_below_the_list_and_no_list_at_all_refute(
    tiny_pair: Pair, scores: tuple[torch.Tensor, torch.Tensor]
) -> None:
    assert found_in(tiny_pair, TokenRanking(-scores[0], scores[1])).verdict is Verdict.REFUTED
    unchanged = found_in(tiny_pair, None)
    assert (unchanged.verdict, unchanged.deciding.value) == (Verdict.REFUTED, 0.0)
    assert "was not changed" in unchanged.reason


def test_a_pair_has_words_where_one_is_suspected() -> None:
    assert has_words(PairDescription("x"), Settings(candidates=("calculate pi",)))
    assert not has_words(PairDescription("x"), Settings())
