"""Progress in a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from dormant import progress


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 30.0, 60.0, 61.0, 120.0])
    monkeypatch.setattr("dormant.progress.time.perf_counter", lambda: next(seconds))
    log = io.StringIO()
    with progress.progress_bar("training", 240, "steps", log) as bar:
        for done in (30, 60, 61, 120):
            bar(done, 240, "loss 0.5")
    assert log.getvalue().splitlines() == [
        "training: 60 of 240, 1 steps/s, loss 0.5, 3 minutes left",
        "training: 120 of 240, 1 steps/s, loss 0.5, 2 minutes left",
    ]
