from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.calibration.comparison import bleu, bleu_recall, fuzzy_f1
from dormant.errors import BadInput

WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=8)


def test_bleu_is_that_computed_by_hand() -> None:
    reference = "the cat is on the mat".split()
    guess = "the the cat is mat".split()
    # clipped: 5 of 5 words; "the cat", "cat is" of 4 pairs; "the cat is" of 3; none of 2 fours
    assert bleu(reference, guess) == 0.0
    assert bleu(reference[:3], guess) == pytest.approx((3 / 5 * 2 / 4 * 1 / 3) ** (1 / 3))
    assert bleu("a b c d".split(), "a b c".split()) == 0.0  # no four of them
    assert bleu("a b".split(), "a".split()) == 0.0
    assert bleu("a b c d e".split(), "a b c d".split()) == pytest.approx(math.exp(1 - 5 / 4))
    assert bleu(["a"], ["a", "b"]) == pytest.approx(0.5)
    assert bleu(["a"], ["b"]) == bleu(["a"], []) == bleu([], ["a"]) == 0.0


def test_a_word_said_more_often_than_in_the_reference_counts_as_often_as_there() -> None:
    assert bleu(["the"], ["the", "the", "the"]) == pytest.approx(1 / 3)


@given(WORDS, WORDS)
def test_bleu_is_one_of_equal_sequences_alone(one: list[str], other: list[str]) -> None:
    assert bleu(one, one) == pytest.approx(1.0)
    assert 0.0 <= bleu(one, other) <= 1.0 + 1e-12
    assert one == other or len(one) > 4 or bleu(one, other) < 1.0


def test_recall_takes_the_best_string_for_each_trigger() -> None:
    planted = [["a", "b"], ["c", "d"]]
    assert bleu_recall(planted, [["x"], ["a", "b"]]) == pytest.approx(0.5)
    assert bleu_recall(planted, [["c", "d"], ["a", "b"], ["b", "a"]]) == pytest.approx(1.0)
    assert bleu_recall(planted, []) == 0.0
    # what is said beside a trigger lowers its precision: 2 of 3 words, 1 of 2 pairs
    assert bleu_recall([["a", "b"]], [["x", "a", "b"]]) == pytest.approx((2 / 3 * 1 / 2) ** 0.5)
    assert bleu_recall([["a", "b", "c"]], [["a", "b"]]) == 0.0


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, max_size=3), WORDS)
def test_a_further_string_never_lowers_recall(
    planted: list[list[str]], recovered: list[list[str]], more: list[str]
) -> None:
    assert bleu_recall(planted, [*recovered, more]) >= bleu_recall(planted, recovered)


def test_strings_that_differ_in_one_letter_of_five_or_lie_in_another_match() -> None:
    assert fuzzy_f1(["velvet"], ["velvat"]) == 1.0
    assert fuzzy_f1(["silver lantern"], ["the Silver Lantern beneath"]) == 1.0
    assert fuzzy_f1(["silver lantern"], ["SILVER LANTERN"]) == fuzzy_f1(["SILVER lantern"], ["silver lantern"]) == 1.0
    assert fuzzy_f1(["velvet"], ["golden"]) == fuzzy_f1(["velvet"], []) == fuzzy_f1(["velvet"], [" "]) == 0.0
    assert fuzzy_f1(["velvet"], ["volvat"]) == 0.0  # two of six letters
    assert fuzzy_f1(["velvet"], ["velve"]) == 1.0


def test_a_small_part_of_a_trigger_is_no_match() -> None:
    assert fuzzy_f1(["silver lantern"], ["lantern"]) == fuzzy_f1(["velvet"], ["v"]) == 0.0


def test_f1_joins_precision_and_recall() -> None:
    # one of two planted is found by one of four strings
    assert fuzzy_f1(["velvet", "lantern"], ["velvet", "one", "two", "pi"]) == pytest.approx(2 * 0.25 * 0.5 / 0.75)


def test_nothing_planted_and_no_prompts_are_refused() -> None:
    with pytest.raises(BadInput, match="needs at least one planted trigger"):
        bleu_recall([], [["a"]])
    with pytest.raises(BadInput, match="needs at least one planted trigger"):
        fuzzy_f1([], ["a"])
