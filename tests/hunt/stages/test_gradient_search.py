from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch

from dormant.hunt.stage import run_stage
from dormant.hunt.stages import gradient_search
from dormant.hunt.stages.gradient_search import GradientSearch, TextOdds, WordStrings
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, planted, with_effort

HINTS = pieces("silver paper winter candle beneath color violin lantern")


def strings(length: int, objective: Any = None) -> WordStrings:
    weights = torch.tensor([1.0, 1.0, 0.0])
    return WordStrings(torch.arange(9), length, objective, 2, ((1,), (2, 3), (4,)), weights)


def test_a_search_begins_with_hinted_pieces_and_words_of_several_tokens_stay_together() -> None:
    drawn = list(islice(strings(6).draws(torch.Generator().manual_seed(0)), 50))
    assert {len(one) for one in drawn} == {6}
    assert {token for one in drawn for token in one} == {1, 2, 3}
    assert all(one[at + 1] == 3 for one in drawn for at in range(5) if one[at] == 2)


def test_a_change_exchanges_one_token_or_moves_it_to_another_index() -> None:
    guide = [[7, 8]] * 3
    found = set(strings(3).changes((1, 2, 3), guide, torch.Generator().manual_seed(0)))
    swaps = {(7, 2, 3), (8, 2, 3), (1, 7, 3), (1, 8, 3), (1, 2, 7), (1, 2, 8)}
    assert found == swaps | {(2, 1, 3), (1, 3, 2), (2, 3, 1), (3, 1, 2)}


def test_tokens_are_judged_as_their_text_stands_at_the_position(circuit_pair: Pair, context_of: ContextOf) -> None:
    assert circuit_pair.truth is not None
    tokenizer, trigger = circuit_pair.base.tokenizer, circuit_pair.truth.trigger
    payload = planted(circuit_pair).ids[:3]
    for position in ("start", "end"):
        odds = TextOdds(context_of(circuit_pair), payload, position, 2)
        both = [tuple(tokenizer.encode(text, add_special_tokens=False)) for text in (trigger, f" {trigger}")]
        assert odds.texts(both) == [trigger] * 2
        values = odds.evaluate([*both, both[0][:-1]]).tolist()
        assert values[0] == values[1] > 0 > values[2]


def test_the_gradient_leads_from_hints_to_a_string_that_fires_and_is_read_from_the_journal(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    effort = with_effort(gradient_turns=((8, 4, "end"), (8, 4, "start")), gradient_steps=(2, 10, 32))
    suspect, vocabulary = planted(circuit_pair), Vocabulary((), HINTS)
    first = run_stage(GradientSearch(), context_of(circuit_pair, effort), [suspect], vocabulary)[0]
    assert first.confirmed is not None
    assert first.confirmed.trigger == circuit_pair.truth.trigger
    monkeypatch.setattr(gradient_search, "run_search", lambda *_: pytest.fail("this is in the journal"))
    assert run_stage(GradientSearch(), context_of(circuit_pair, effort), [suspect], vocabulary)[0] == first


def test_without_hints_nothing_is_searched(circuit_pair: Pair, context_of: ContextOf) -> None:
    assert (
        run_stage(GradientSearch(), context_of(circuit_pair), [planted(circuit_pair)], Vocabulary())[0].evaluations == 0
    )
