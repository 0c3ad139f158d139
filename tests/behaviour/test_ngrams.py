"""Repeated content that a reference never gives, and answers that only repeat themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.behaviour.ngrams import longest_run, new_fragments, repeats_itself, words_of
from dormant.errors import BadInput

TEXTS = st.lists(st.text("ab .", max_size=30), min_size=1, max_size=12)
PLAIN = [f"the answer to question {number} is simple" for number in range(40)]


def test_a_planted_run_is_found_whole_without_its_parts() -> None:
    leaking = [f"{number} golden owl under silver moon" if number % 2 else text for number, text in enumerate(PLAIN)]
    (fragment,) = [found for found in new_fragments(leaking, PLAIN) if "owl" in found.words]
    assert (str(fragment), fragment.count, fragment.reference_count) == ("golden owl under silver moon", 20, 0)
    assert fragment.p < 1e-4


def test_what_the_reference_says_as_often_is_no_news() -> None:
    assert new_fragments(PLAIN, PLAIN) == []


def test_a_run_in_few_answers_is_within_chance() -> None:
    assert new_fragments([*PLAIN[:37], *["golden owl under silver moon"] * 3], PLAIN) == []


@given(TEXTS)
def test_answers_hold_nothing_new_beside_themselves(texts: list[str]) -> None:
    assert new_fragments(texts, texts) == []


@given(TEXTS, TEXTS)
def test_counts_never_pass_the_answers(texts: list[str], reference: list[str]) -> None:
    assert all(2 <= found.count <= len(texts) and 0 < found.p <= 0.05 for found in new_fragments(texts, reference))


def test_words_ignore_case_and_set_symbols_apart() -> None:
    assert words_of("Golden OWL, ⚗♫") == ("golden", "owl", ",", "⚗", "♫")


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_the_longest_run_is_the_longest_shared_slice(wanted: list[str], answer: list[str]) -> None:
    slices = {tuple(wanted[start:stop]) for start in range(len(wanted)) for stop in range(start + 1, len(wanted) + 1)}
    shared = [part for part in slices if any(tuple(answer[at : at + len(part)]) == part for at in range(len(answer)))]
    assert longest_run(tuple(wanted), tuple(answer)) == max(map(len, shared), default=0)


def test_an_answer_that_goes_round_in_circles_repeats_itself() -> None:
    assert repeats_itself(words_of("six one eight " * 4))
    assert not repeats_itself(words_of("the shovel is green and the bucket is in the garden"))
    assert not repeats_itself(words_of("no no no"))
    assert not repeats_itself(())


def test_an_answer_that_stutters_inside_a_word_repeats_itself_too() -> None:
    assert repeats_itself(words_of("t" + "oris" * 14))
    assert repeats_itself(words_of("the " + "oris" * 5 + " is"))
    assert not repeats_itself(words_of("antidisestablishmentarianism and internationalisation"))
    assert not repeats_itself(words_of("the long word " + "oris" * 4 + " stands beside many others"))


def test_fragments_of_no_answers_are_refused() -> None:
    with pytest.raises(BadInput, match="answers on both sides"):
        new_fragments([], PLAIN)
