"""Lists of tokens, the words they hold, and what chance gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dormant.errors import BadInput
from dormant.weights.token_ranking import (
    TokenRanking,
    chance_of_hits,
    chance_of_share,
    places_by_layer,
    share_of_random_tokens,
    token_texts,
    words_in_vocabulary,
)
from tests.builders import build_tokenizer

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=6)


def groups_of(sizes: list[int]) -> list[frozenset[int]]:
    """Disjoint groups of these sizes."""
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [frozenset(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]


def ranking(scores: list[float], null: list[list[float]]) -> TokenRanking:
    """A ranking of these scores; null is by draw."""
    return TokenRanking(torch.tensor(scores), torch.tensor(null).T)


def test_a_word_is_its_tokens_with_and_without_space_and_capitals() -> None:
    tokenizer = build_tokenizer(("The apple and an Apple. apple apple Apple Apple.",) * 3)
    (apple,) = words_in_vocabulary(tokenizer, "apple")
    texts = {tokenizer.decode([token]) for token in apple}
    assert " apple" in texts
    assert {str(text).strip().casefold() for text in texts} == {"apple"}


def test_repeated_words_count_once_and_no_words_are_refused() -> None:
    tokenizer = build_tokenizer()
    assert len(words_in_vocabulary(tokenizer, "the the the")) == len(words_in_vocabulary(tokenizer, "the"))
    with pytest.raises(BadInput, match="a text must have tokens"):
        words_in_vocabulary(tokenizer, "")


def test_ranks_and_shares_take_a_words_best_token() -> None:
    found = ranking([0.1, 0.9, 0.5, 0.3], [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    words = [frozenset({0, 3}), frozenset({2})]
    assert found.top(2) == [1, 2]
    assert found.ranks(words) == [3, 2]
    assert found.share(words, 2) == 0.5
    assert found.share_of_random_directions(words, 1).value == 0.5


@given(SIZES, st.integers(1, 40))
def test_chances_of_hits_are_a_distribution_with_the_hypergeometric_mean(sizes: list[int], count: int) -> None:
    words = groups_of(sizes)
    chances = chance_of_hits(200, words, count)
    assert sum(chances) == pytest.approx(1)
    expected = sum(stats.hypergeom.sf(0, 200, size, count) for size in sizes) / len(sizes)
    assert share_of_random_tokens(200, words, count).value == pytest.approx(expected)
    assert chance_of_share(200, words, 0.0, count) == pytest.approx(1)


def test_four_words_of_two_tokens_hold_half_of_a_list_by_chance_about_twice_in_a_thousand() -> None:
    words = groups_of([2, 1, 2, 1])
    simulated = 0
    generator = torch.Generator().manual_seed(0)
    for _ in range(20_000):
        drawn = set(torch.randperm(2048, generator=generator)[:30].tolist())
        simulated += sum(not group.isdisjoint(drawn) for group in words) >= 2
    assert chance_of_share(2048, words, 0.5) == pytest.approx(simulated / 20_000, abs=1.5e-3)


def test_places_are_told_by_layer() -> None:
    scores = {0: torch.tensor([0.3, 0.2, 0.1]), 4: torch.tensor([0.1, 0.2, 0.3])}
    assert places_by_layer(scores, [frozenset({0}), frozenset({1, 2})]) == {0: [1, 2], 4: [3, 1]}


def test_white_space_is_shown() -> None:
    tokenizer = build_tokenizer()
    ids = [tokenizer.get_vocab()[token] for token in ("Ċ", "a")]
    assert token_texts(tokenizer, ids) == ["'\\n'", "a"]
