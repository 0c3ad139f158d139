"""A real Ray cluster of two nodes, of which one is killed in the middle; what Ray is asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dormant.errors import BadInput
from dormant.sweeps.executor import Wish, executor_named
from dormant.sweeps.job import Needs, State
from dormant.sweeps.on_ray import RayExecutor
from dormant.sweeps.run import run_jobs
from tests.sweeps.conftest import RAY
from tests.sweeps.work import Losing, computed, counted_job, squares


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_jobs_of_a_node_that_is_lost_go_on_elsewhere_and_nothing_finished_is_done_twice(
    cluster: Any, tmp_path: Path
) -> None:
    jobs = [counted_job(f"job-{n}", tmp_path, seconds=5.0) for n in range(4)]
    executor = Losing(executor_named(f"ray:{cluster.address}", Wish(), tmp_path), cluster, jobs, done=0)
    found = run_jobs(jobs, executor)
    assert executor.lost
    assert [status.state for status in found] == [State.DONE] * 4
    assert sum(status.attempts for status in found) == 5
    assert squares(jobs) == [squares(jobs)[0]] * 4
    assert sum(len(computed(job)) - len(set(computed(job))) for job in jobs) <= 1  # the step that was cut off


@pytest.mark.parametrize(
    ("gpu_memory", "of_one", "asked"),
    [(0, 0, None), (0, 10, 1), (80, 20, 0.26), (80, 0.1, 0.01), (80, 79.9, 1), (80, 80, 1)],
    ids=["no GPU", "a GPU each", "a quarter and what rounding adds", "the least", "nearly all", "all"],
)
def test_ray_is_asked_for_a_gpu_or_the_part_of_it_that_a_job_needs(
    gpu_memory: int, of_one: float, asked: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    task = SimpleNamespace(remote=lambda *arguments: "task")
    remote = SimpleNamespace(options=lambda **options: told.update(options) or task)
    fake = SimpleNamespace(is_initialized=lambda: True, remote=lambda function: remote)
    monkeypatch.setattr("dormant.sweeps.on_ray._ray", lambda: fake)
    executor = RayExecutor(Wish(threads=3, gpu_memory=gpu_memory), None)
    executor.submit(counted_job("job", tmp_path, needs=Needs(memory=7, gpu_memory=of_one)))  # type: ignore[arg-type]
    assert (told["num_cpus"], told["memory"], told["max_retries"]) == (3, 7, 0)
    assert told.get("num_gpus") == asked


def test_a_dead_address_is_one_sentence_within_seconds(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=RAY)
    with pytest.raises(BadInput, match=r"a Ray cluster must answer; got .* at 127.0.0.1:9; start one"):
        executor_named("ray:127.0.0.1:9", Wish(), tmp_path)


def test_ray_that_is_not_installed_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(BadInput, match="--executor ray needs the package ray"):
        executor_named("ray", Wish(), tmp_path)
