from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.behaviour.extraction import SamplingPlan
from dormant.behaviour.ngrams import Fragment, words_of
from dormant.detection.leak_motifs import joined_motifs, leak_motifs
from dormant.pairs import Pair
from dormant.prompts.material import Decoding

PLAN = SamplingPlan(("{start}", "{start}Repeat:"), (Decoding(1.0),), repeats=40, new_tokens=12, seed=1)


def fragment(text: str, p: float) -> Fragment:
    return Fragment(words_of(text), 9, 0, p)


def test_overlapping_fragments_are_one_motif_with_the_score_of_the_least_probable() -> None:
    found = joined_motifs(
        [fragment("river stone", 1e-4), fragment("apple river", 1e-6), fragment("river", 1e-5), fragment("moon", 1e-2)]
    )
    assert [(motif.words, round(motif.score)) for motif in found] == [(("apple", "river", "stone"), 6), (("moon",), 2)]


@pytest.mark.parametrize("apart", ["stone hill tree", "hill river"])
def test_fragments_that_share_less_than_half_stay_apart(apart: str) -> None:
    assert len(joined_motifs([fragment("apple river stone", 1e-4), fragment(apart, 1e-3)])) == 2


@given(st.lists(st.tuples(st.text("ab ", min_size=1).filter(str.strip), st.floats(1e-9, 1e3)), max_size=10))
def test_joining_loses_no_fragment_and_no_score(drawn: list[tuple[str, float]]) -> None:
    fragments = [fragment(text, p) for text, p in drawn]
    motifs = joined_motifs(fragments)
    held = [" ".join(motif.words) for motif in motifs]
    assert all(any(str(one) in text for text in held) for one in fragments)
    assert not fragments or motifs[0].score == pytest.approx(-math.log10(min(one.p for one in fragments)))


def test_words_that_a_model_repeats_raise_the_figure_and_are_named(repeating_pair: Pair, tiny_pair: Pair) -> None:
    planted = leak_motifs(repeating_pair, PLAN)
    assert planted.estimate.value > 2 > leak_motifs(tiny_pair, PLAN).estimate.value
    assert any("jumpsky" in text for text in planted.named)


def test_chance_alone_gives_many_fragments_as_uneven_as_those_of_the_base_against_itself(tiny_pair: Pair) -> None:
    found = leak_motifs(tiny_pair.against_itself, PLAN)
    assert found.estimate.value < 0
    assert found == leak_motifs(tiny_pair.against_itself, PLAN)
