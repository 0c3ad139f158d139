from __future__ import annotations

import pytest

from dormant.hunt.units import hunting_units, split_words
from dormant.pairs import Pair
from dormant.prompts import Prompter


def test_the_words_of_a_planted_trigger_are_among_those_that_are_drawn_most(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    units = hunting_units(circuit_pair, [prompter.open(probe) for probe in circuit_pair.probes[:8]], words=100)
    first = {unit.text for unit in units[:128]}
    assert {f" {word}" for word in "silver lantern beneath winter".split()} <= first
    assert sum(unit.weight for unit in units) == pytest.approx(1)
    assert {f" {digit}" for digit in range(10)} <= {unit.text for unit in units}


def test_a_model_beside_itself_hints_at_nothing(sham_pair: Pair) -> None:
    prompter = Prompter(sham_pair.base.tokenizer)
    units = hunting_units(sham_pair, [prompter.open(sham_pair.probes[0])], words=0)
    assert all(unit.z == pytest.approx(0, abs=0.01) for unit in units)
    assert sham_pair.models.base().config.num_hidden_layers == len(sham_pair.models.base().model.layers)


def test_words_that_the_tokenizer_keeps_whole_are_no_words_of_their_own(sham_pair: Pair) -> None:
    tokenizer = sham_pair.base.tokenizer
    words = split_words(tokenizer, 500)
    assert all(1 < len(ids) <= 4 and str(tokenizer.decode(list(ids))).startswith(" ") for ids in words)
    assert tuple(tokenizer.encode(" the", add_special_tokens=False)) not in words
