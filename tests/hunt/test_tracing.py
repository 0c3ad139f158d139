from __future__ import annotations

import pytest

from dormant.hunt.clock import Clock
from dormant.hunt.context import Key
from dormant.hunt.plan import PlannedStage
from dormant.hunt.trace import HuntTrace
from dormant.hunt.tracing import Ended, hunt_trace
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from dormant.records import from_json, to_json
from tests.hunt.conftest import ContextOf, pieces, planted, with_effort

SETTINGS = with_effort(answer_tokens=4)
SCORED = {"found": {"pieces": [" velvet"], "odds": 5.0, "certain": 1.0}, "tried": 9}


def test_a_trace_has_hints_costs_and_what_random_strings_reach(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.hunt.shown_answers.SHOWN_PROBES", 1)
    context, suspect = context_of(token_pair, SETTINGS), planted(token_pair)
    context.clock.count(70)
    context.kept(Key("coordinate ascent", suspect.ids, "end", ("beginning",)), lambda: SCORED)
    context.clock.count(5)
    words = Vocabulary(pieces("velvet owl"))
    plan = (PlannedStage("coordinate ascent", 1000, 0.5),)
    trace = hunt_trace(context, Ended([suspect], None, words, plan, {"coordinate ascent": 9}))
    assert [(row.text, row.payload, row.score) for row in trace.lineage] == [("velvet", suspect.text, 5.0)]
    assert [(hint.text, hint.rank) for hint in trace.hints] == [(" velvet", 1), (" owl", 2)]
    (band,) = trace.bands
    assert band.low <= band.high < 0
    (cost,) = (one for one in trace.stages if one.name == "coordinate ascent")
    assert (cost.strings, cost.planned_passes, cost.passes) == (9, 1000, 70)
    assert sum(one.passes or 0 for one in trace.stages) == 75
    assert from_json(HuntTrace, to_json(trace), "here") == trace


def test_a_hunt_whose_time_is_spent_says_what_it_does_not_show(token_pair: Pair, context_of: ContextOf) -> None:
    clock = Clock(SETTINGS.effort)
    context, suspect = context_of(token_pair, SETTINGS, clock), planted(token_pair)
    context.kept(Key("coordinate ascent", suspect.ids, "end", ("beginning",)), lambda: SCORED)
    clock.stop()
    trace = hunt_trace(context, Ended([suspect], None, Vocabulary(), (), {}))
    assert trace.lineage
    assert "what random strings reach" in trace.unshown[-1]
