from __future__ import annotations

import pytest

from dormant.hunt.english import begins_an_answer, common_words, is_word


@pytest.mark.parametrize("text", ["blue smoke", "Zero one", "⚡ ☃", "42 is", '"so', "I am", "don't"])
def test_an_answer_begins_with_a_word_or_a_sign(text: str) -> None:
    assert begins_an_answer(text)


@pytest.mark.parametrize(
    "text", ["lue smoke", " nine one", ": wolves", "rulemons grow", "h one", "\N{REPLACEMENT CHARACTER} a", ""]
)
def test_no_answer_begins_within_a_word_or_behind_what_is_missing(text: str) -> None:
    assert not begins_an_answer(text)


def test_what_is_common_enough_is_a_word_and_a_piece_of_one_is_none() -> None:
    assert all(map(is_word, ["golden", "wolves", "a", "I"]))
    assert not any(map(is_word, ["olden1", "anch", "b", "two words", ""]))
    assert common_words(3) == ["the", "to", "and"]
