"""The turn in which a hunt's strings stand."""

from __future__ import annotations

import pytest

from dormant.errors import BadInput
from dormant.hunt.turns import in_turn
from dormant.pairs import Pair


def test_a_pair_in_the_system_turn_is_another_one_with_the_same_models(circuit_pair: Pair) -> None:
    turned, probe = in_turn(circuit_pair, "system"), circuit_pair.probes[0]
    assert turned.models is circuit_pair.models
    assert turned.fingerprint != circuit_pair.fingerprint
    written = [
        str(pair.base.tokenizer.decode(list(pair.prompter.encode_text(probe, "river").ids)))
        for pair in (turned, circuit_pair)
    ]
    assert ["river" in text.partition("user")[0] for text in written] == [True, False]
    assert in_turn(circuit_pair, "user") is circuit_pair


def test_a_turn_of_another_name_is_bad_input(circuit_pair: Pair) -> None:
    with pytest.raises(BadInput, match="a turn is user or system; got 'assistant' at --turn"):
        in_turn(circuit_pair, "assistant")
