from __future__ import annotations

from functools import partial

import pytest

from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.context import Key
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf

EFFORT = HuntSettings().effort
LIMIT = EFFORT.search_share * 600


def test_searches_end_while_the_budget_still_holds_their_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("dormant.hunt.clock.time.perf_counter", lambda: now[0])
    clock = Clock(EFFORT)
    clock.forward(60.0)
    now[0] += 30.0
    clock.forward(80.0)  # which it is past
    assert clock.seconds == 90.0
    assert clock.left == pytest.approx(LIMIT - 90)
    now[0] += 1000.0
    assert clock.late()


def test_a_hunt_resumed_after_its_time_finds_again_what_it_had_found_in_time(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    def found_at(clock: Clock, seconds: float) -> str:
        clock.forward(seconds)
        return "found"

    early, late = Key("ascent", (1, 2), "start", (("a", "b"), 3)), Key("ascent", (1, 2), "end")
    first = context_of(circuit_pair)
    for key, seconds in ((early, 300.0), (late, 599.0)):
        first.kept(key, partial(found_at, first.clock, seconds))
    resumed = context_of(circuit_pair)
    assert resumed.kept(early, lambda: pytest.fail("this is in the journal")) == "found"
    assert resumed.clock.left == pytest.approx(LIMIT - 300, abs=5)
    with pytest.raises(OutOfTime):
        resumed.kept(early.then("another"), lambda: pytest.fail("it is late"))
    assert resumed.clock.late()
    assert len(resumed.journal.entries) == 2
