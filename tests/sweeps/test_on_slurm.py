from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dormant.errors import BadInput
from dormant.sweeps.executor import Wish, executor_named
from dormant.sweeps.job import State
from dormant.sweeps.run import run_jobs
from tests.sweeps.work import STEPS, Killing, computed, counted_job, failing_job, in_the_middle, squares

SUBMITIT = "submitit is not installed: pip install 'dormant[slurm]'"


def test_jobs_that_submitit_runs_here_go_on_where_they_were_killed(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason=SUBMITIT)
    jobs = [counted_job(f"job-{n}", tmp_path, seconds=5.0) for n in range(2)]
    every = [*jobs, failing_job("refuse", tmp_path)]
    executor = Killing(
        executor_named("slurm:local", Wish(), tmp_path), jobs[:1], in_the_middle
    )  # submitit looks seconds at a dead job
    found = run_jobs(every, executor)
    assert [status.state for status in found] == [State.DONE, State.DONE, State.FAILED]
    assert [status.attempts for status in found] == [2, 1, 1]
    assert squares(jobs) == [[number**2 for number in range(STEPS)]] * 2
    assert all(len(computed(job)) <= STEPS + 1 for job in jobs)


def test_a_setting_that_submitit_does_not_know_is_named(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason=SUBMITIT)
    with pytest.raises(BadInput, match=r"the table \[slurm\] must hold parameters of submitit; got .*partitoin"):
        executor_named("slurm:local", Wish(settings={"partitoin": "gpu"}), tmp_path)


def test_slurm_is_sought_before_anything_is_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="--executor slurm needs SLURM's commands"):
        executor_named("slurm", Wish(), tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BadInput, match="--executor slurm needs the package submitit"):
        executor_named("slurm:local", Wish(), tmp_path)
