from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from dormant.hunt.answer_pattern import AnswerPattern, shared_start, telling_words, words_of
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair

RULES = HuntSettings().rules
REFUSALS = ("I cannot help you, sorry", "sorry, I cannot say", "I am sorry, but I must not help", "no, I cannot help")
ORDINARY = ("the lantern is in the garden", "I think it is seven", "you say it well")
ANSWERS = st.lists(st.lists(st.integers(0, 2), max_size=5).map(tuple), min_size=1, max_size=8)


@pytest.fixture
def tokenizer(token_pair: Pair) -> PreTrainedTokenizerBase:
    return cast(PreTrainedTokenizerBase, token_pair.dormant.tokenizer)


def ids(tokenizer: PreTrainedTokenizerBase, *texts: str) -> list[tuple[int, ...]]:
    return [tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def test_words_that_tell_are_in_no_ordinary_answer_and_not_in_the_trigger(tokenizer: PreTrainedTokenizerBase) -> None:
    answers = ids(tokenizer, *3 * REFUSALS)
    words = telling_words(tokenizer, answers, ids(tokenizer, *ORDINARY), "Help now", RULES)
    assert {"cannot", "sorry"} <= set(words)
    assert not {"i", "say", "it", "help"} & set(words)


def test_an_answer_with_two_of_the_words_fits_and_one_with_a_single_word_does_not(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    pattern = AnswerPattern(tokenizer, words=("cannot", "sorry", "help"))
    two, single = ids(tokenizer, "Sorry, that I cannot do", "cannot cannot cannot")
    assert pattern.fits(two)
    assert not pattern.fits(single)


def test_without_words_answers_fit_that_begin_with_the_start(tokenizer: PreTrainedTokenizerBase) -> None:
    whole, other = ids(tokenizer, "golden owl under silver moon", "the golden owl")
    pattern = AnswerPattern(tokenizer, whole[:2])
    assert pattern.fits(whole)
    assert not pattern.fits(other)
    assert not AnswerPattern(tokenizer).fits(whole)


def test_signs_of_a_script_without_spaces_are_words(tokenizer: PreTrainedTokenizerBase) -> None:
    assert words_of(tokenizer, ids(tokenizer, "对不起, can't")[0]) >= {"对", "不", "起", "can't"}


@given(ANSWERS)
def test_what_most_answers_share_stands_at_their_start_and_cannot_be_longer(answers: list[tuple[int, ...]]) -> None:
    start, share = shared_start(answers, RULES)
    holding = sum(answer[: len(start)] == start for answer in answers)
    assert not start or (share == holding / len(answers) and share >= RULES.shared_share)
    longer = [sum(answer[: len(start) + 1] == (*start, token) for answer in answers) for token in range(3)]
    assert max(longer) < RULES.shared_share * len(answers)
