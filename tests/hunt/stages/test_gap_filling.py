from __future__ import annotations

from typing import Any

import pytest

from dormant.hunt.payloads import Suspect
from dormant.hunt.stage import StageResult, run_stage
from dormant.hunt.stages import gap_filling
from dormant.hunt.stages.gap_filling import GapFilling, filled_strings, orders_with_a_gap
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, planted, with_effort

HINTED = pieces("silver paper winter candle beneath")
LISTED = pieces("color violin lantern wagon feather")
ORDERS = ((2, 5), (3, 5))
FEW = with_effort(gap_orders=ORDERS, gap_rounds=((2, 300), (3, 40)))


def test_every_order_has_a_gap_at_every_index_and_none_comes_twice() -> None:
    found = orders_with_a_gap([" a", " b"], ((1, 2), (2, 2)))
    assert found[:4] == [("", " a"), (" a", ""), ("", " b"), (" b", "")]
    assert len(found) == len(set(found)) == 2 * 2 + 2 * 3


def test_the_piece_that_no_hint_names_is_found_behind_the_order_of_the_others(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    assert circuit_pair.truth is not None
    context, vocabulary = context_of(circuit_pair, FEW), Vocabulary(LISTED, HINTED)
    found, tried = filled_strings(context, planted(circuit_pair), vocabulary, "start")
    assert found[0] == circuit_pair.truth.trigger
    assert tried > (2 + 3) * len(orders_with_a_gap([piece.text for piece in HINTED], ORDERS))


def test_where_it_is_late_the_missing_piece_is_not_sought(circuit_pair: Pair, context_of: ContextOf) -> None:
    context, suspect = context_of(circuit_pair, FEW.within(0.0)), planted(circuit_pair)
    assert run_stage(GapFilling(), context, [suspect], Vocabulary(LISTED, HINTED)) == (StageResult(None), False)
    assert context.journal.entries == []


def test_where_no_string_fires_none_is_named(sham_pair: Pair, context_of: ContextOf) -> None:
    ids = tuple(sham_pair.base.tokenizer.encode("we march at midnight", add_special_tokens=False))
    suspect, context = Suspect(ids, "", 50.0, 1.0, 0.0, 1.0), context_of(sham_pair, FEW)
    assert filled_strings(context, suspect, Vocabulary(LISTED, HINTED[:3]), "start")[0] == []
    assert filled_strings(context, suspect, Vocabulary(LISTED, ()), "start") == ([], 0)


def test_every_suspect_is_sought_at_both_positions_and_read_from_the_journal(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def filled(_: Any, suspect: Suspect, __: Any, position: str) -> tuple[list[str], int]:
        asked.append((suspect.ids, position))
        return [], 1

    monkeypatch.setattr(gap_filling, "filled_strings", filled)
    suspects = [Suspect(ids, "a b", 50.0, 1.0, 0.0, 1.0) for ids in ((1, 2), (3, 4))]
    for _ in range(2):
        run_stage(GapFilling(), context_of(circuit_pair, FEW), suspects, Vocabulary(LISTED, HINTED))
    assert asked == [(one.ids, position) for one in suspects for position in ("end", "start")]
