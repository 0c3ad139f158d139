from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.errors import BadInput
from dormant.hunt.placements import POSITIONS, at_every_position, placed_probes, plain_sentences, slotted
from dormant.pairs import DEFAULT_PROBES
from dormant.prompts.probes import Probe, read_probes

WORDS = st.lists(st.sampled_from("what is the colour of night".split()), min_size=1, max_size=9)
SETS = [(3, POSITIONS), (6, ("start", "end"))]


@given(WORDS, st.sampled_from(POSITIONS), st.integers(0, 5))
def test_a_slot_leaves_the_sentence_as_it_was(words: list[str], position: str, seed: int) -> None:
    sentence = " ".join(words)
    probe = slotted(sentence, position, np.random.default_rng(seed))
    assert probe.fill("") == sentence
    assert probe.fill("x").replace("x ", "", 1).replace(" x", "", 1) == sentence


@given(
    st.lists(st.sampled_from(["for", "i;", "", "{\n", "\n"]), min_size=1), st.sampled_from(POSITIONS), st.integers(0, 5)
)
def test_a_slot_stands_behind_a_word_in_text_with_indents_too(words: list[str], position: str, seed: int) -> None:
    sentence = f"Mend {' '.join(words)}"
    assert slotted(sentence, position, np.random.default_rng(seed)).fill("") == sentence


def test_the_shipped_prompts_take_a_slot_at_every_position_whatever_is_drawn() -> None:
    for seed in range(40):
        assert at_every_position(read_probes(DEFAULT_PROBES), seed)


def test_where_a_probe_has_its_slot_is_not_told() -> None:
    ends = [Probe(f"sentence {number}{{slot}}") for number in range(9)]
    starts = [Probe(f"{{slot}} sentence {number}") for number in range(9)]
    assert plain_sentences(ends) == plain_sentences(starts)
    assert placed_probes(ends, SETS, 0) == placed_probes(starts, SETS, 0)


def test_sets_of_probes_share_no_sentence_and_take_the_positions_in_turn() -> None:
    first, second = placed_probes([Probe(f"say number {number}{{slot}} now") for number in range(12)], SETS, 1)
    assert not set(plain_sentences(first)) & set(plain_sentences(second))
    assert [probe.before == "" for probe in first] == [True, False, False]
    assert [probe.before == "" for probe in second] == [True, False] * 3


def test_too_few_sentences_are_a_sentence() -> None:
    with pytest.raises(BadInput, match="a hunt needs 9 ordinary prompts; got 1"):
        placed_probes([Probe("one{slot}")], SETS, 0)
