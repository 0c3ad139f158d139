from __future__ import annotations

import pytest

from dormant.hunt import ground
from dormant.hunt.ground import SEARCHING, Clock


def test_searches_end_while_the_budget_still_holds_their_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(ground.time, "perf_counter", lambda: now[0])
    clock = Clock(10.0)
    clock.earlier = 60.0
    now[0] += 30.0
    assert clock.seconds == 90.0
    assert clock.left == pytest.approx(SEARCHING * 600 - 90)
    now[0] += 1000.0
    assert clock.left == 0.0
