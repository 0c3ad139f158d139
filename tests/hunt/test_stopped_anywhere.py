from __future__ import annotations

from pathlib import Path

import pytest

from dormant.hunt.clock import Clock
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.result import HuntVerdict
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair


@pytest.mark.slow
@pytest.mark.parametrize("name", ["token_pair", "circuit_pair"])
def test_a_hunt_that_is_stopped_once_in_each_stage_reads_no_further_and_goes_on_to_the_trigger(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pair: Pair = request.getfixturevalue(name)
    spoken = set[str]()
    stopped_at = -1
    while stopped_at:
        clock, stopped_at = Clock(HuntSettings().effort), 0

        def stop(done: int, total: float, remark: str = "", clock: Clock = clock) -> None:
            nonlocal stopped_at
            stage = remark.partition(":")[0]
            if stage not in spoken and not clock.stopped:
                spoken.add(stage)
                clock.stop()
                stopped_at = clock.tokens or -1

        found = run_hunt(pair, tmp_path, progress=stop, clock=clock)
        if stopped_at:
            assert clock.tokens == max(stopped_at, 0), f"stopped in {sorted(spoken)}, it read on"
            assert found.verdict is not HuntVerdict.CLEAN
    assert {"parent", "plan", "payload", "decision"} <= spoken
    assert found.verdict is HuntVerdict.BACKDOORED
    assert found.confirmation is not None
    assert pair.truth is not None
    assert found.confirmation.trigger == pair.truth.trigger
