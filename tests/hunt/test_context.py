from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from dormant.hunt import context
from dormant.hunt.context import SEARCHING, Clock, HuntContext
from dormant.journal import Journal
from dormant.pairs import Pair


def test_searches_end_while_the_budget_still_holds_their_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(context.time, "perf_counter", lambda: now[0])
    clock = Clock(10.0)
    clock.forward(60.0)
    now[0] += 30.0
    clock.forward(80.0)  # which it is past
    assert clock.seconds == 90.0
    assert clock.left == pytest.approx(SEARCHING * 600 - 90)
    now[0] += 1000.0
    assert clock.left == 0.0


def test_a_hunt_resumed_after_its_time_finds_again_what_it_had_found_in_time(tiny_pair: Pair, tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "hunt.jsonl", {})) as journal:
        journal.append({"rung": "early", "result": "found", "seconds": 300.0})
        journal.append({"rung": "late", "result": "found", "seconds": 599.0})
        resumed = HuntContext(tiny_pair, (), (), 0, journal, Clock(10.0), lambda *_: None)
        assert resumed.kept("early", lambda: pytest.fail("this is in the journal")) == "found"
        assert resumed.clock.left == pytest.approx(SEARCHING * 600 - 300, abs=5)
        resumed.kept("another", lambda: "found")
        assert resumed.clock.left == 0.0
        assert journal.entries[-1]["seconds"] >= 599.0
