from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from dormant.errors import BadInput
from dormant.sweeps.executor import Wish
from dormant.sweeps.job import Job, Needs, Room, State, read_attempts
from dormant.sweeps.local import LocalExecutor
from dormant.sweeps.run import check_fits, one_sweep, run_jobs
from tests.sweeps.work import STEPS, Killing, computed, counted_job, failing_job, in_the_middle, squares

SQUARES = [number**2 for number in range(STEPS)]


def test_every_job_ends_with_its_result_and_is_told_once(tmp_path: Path) -> None:
    jobs, told = [counted_job(f"job-{n}", tmp_path) for n in range(3)], list[str]()
    found = run_jobs(jobs, LocalExecutor(Wish(workers=2)), tell=lambda status, ended: told.append(status.name))
    assert [status.state for status in found] == [State.DONE] * 3
    assert squares(jobs) == [SQUARES] * 3
    assert sorted(told) == ["job-0", "job-1", "job-2"]


def test_jobs_that_are_killed_in_the_middle_go_on_and_do_nothing_twice_that_was_finished(tmp_path: Path) -> None:
    jobs = [counted_job(f"job-{n}", tmp_path, seconds=1.0) for n in range(4)]
    executor = Killing(LocalExecutor(Wish(workers=2)), jobs[:2], in_the_middle)
    found = run_jobs(jobs, executor)
    assert executor.left == []
    assert [status.attempts for status in found] == [2, 2, 1, 1]
    assert squares(jobs) == [SQUARES] * 4
    for job in jobs:
        assert sorted(set(computed(job))) == [str(number) for number in range(STEPS)]
        assert len(computed(job)) <= STEPS + 1  # the step that the kill cut off
        assert len((job.folder / "steps.jsonl").read_text().splitlines()) == STEPS + 1


def test_a_job_that_fails_stops_no_other_and_says_why(tmp_path: Path) -> None:
    jobs = [failing_job(name, tmp_path) for name in ("refuse", "break", "exhaust", "die")]
    jobs.append(counted_job("right", tmp_path))
    found = {status.name: status for status in run_jobs(jobs, LocalExecutor(Wish(workers=2)), retries=1)}
    assert found["right"].state is State.DONE
    assert found["refuse"].reason == "this must be right; got wrong at here; mend it"
    assert found["break"].reason.startswith("ValueError: a fault in the code; see ")
    assert "MemoryError" in found["exhaust"].reason
    assert found["die"].reason == "ended 2 times; the last time: killed by SIGKILL"
    assert {name: status.attempts for name, status in found.items()} == {
        "refuse": 1, "break": 1, "exhaust": 2, "die": 2, "right": 1,
    }  # fmt: skip


def test_what_is_done_is_not_begun_again_and_what_failed_is(tmp_path: Path) -> None:
    jobs = [counted_job("right", tmp_path), failing_job("refuse", tmp_path)]
    for _ in range(2):
        found = run_jobs(jobs, LocalExecutor(Wish(workers=2)))
    assert [status.attempts for status in found] == [1, 2]


def test_a_folder_with_other_work_is_refused_before_anything_runs(tmp_path: Path) -> None:
    run_jobs([counted_job("job", tmp_path)], LocalExecutor(Wish(workers=1)))
    other = Job("job", tmp_path / "job", tmp_path / "job" / "result.json", print, {"steps": STEPS + 1})
    with pytest.raises(BadInput, match="a job's folder must hold the same work to be resumed"):
        run_jobs([counted_job("new", tmp_path), other], LocalExecutor(Wish(workers=1)))
    assert not (tmp_path / "new" / "result.json").exists()


class Interrupting(LocalExecutor):
    """Ctrl-C as soon as a job has begun."""

    def poll(self) -> Mapping[str, str]:
        ended = super().poll()
        if any(child.process.pid and job.attempts.exists() for child, job, _ in self._running.values()):
            time.sleep(0.3)
            raise KeyboardInterrupt
        return ended


def test_ctrl_c_ends_every_process_and_the_same_call_goes_on(tmp_path: Path) -> None:
    jobs = [counted_job(f"job-{n}", tmp_path, seconds=2.0) for n in range(2)]
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, Interrupting(Wish(workers=2)))
    for job in jobs:
        for entry in read_attempts(job):
            with pytest.raises(ProcessLookupError):
                os.kill(entry["pid"], 0)
    assert [status.state for status in run_jobs(jobs, LocalExecutor(Wish(workers=2)))] == [State.DONE] * 2


def test_two_sweeps_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        one_sweep(tmp_path),
        pytest.raises(BadInput, match="a folder belongs to one sweep at a time"),
        one_sweep(tmp_path),
    ):
        pass


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="the folder must be writable"), one_sweep(tmp_path / "file"):
        pass


def test_what_can_never_fit_is_named_with_what_there_is(tmp_path: Path) -> None:
    large = counted_job("large", tmp_path, needs=Needs(30 * 10**9, 140 * 10**9))
    with pytest.raises(BadInput, match=r"got 140 GB of GPU memory for large where one can have 80 GB; run these"):
        check_fits([large], Room(64 * 10**9, 80 * 10**9, True))
    check_fits([large], Room(64 * 10**9, None, True))


def test_jobs_that_do_not_fit_side_by_side_run_one_after_the_other(tmp_path: Path) -> None:
    executor = LocalExecutor(Wish(workers=2))
    half = (executor.resources().memory or 0) * 2 // 3
    for number in range(2):
        executor.submit(counted_job(f"job-{number}", tmp_path, needs=Needs(half)))
    executor.poll()
    assert executor.running() == {"job-0"}
    executor.cancel()
    assert executor.running() == frozenset()
