"""Work for jobs, which children import, and an executor that kills some of them in the middle."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.journal import kept_steps
from dormant.records import read_json, write_json
from dormant.sweeps.executor import Executor
from dormant.sweeps.job import Job, Needs, Room

STEPS = 5


def counted_job(name: str, folder: Path, seconds: float = 0.0, needs: Needs = Needs()) -> Job:  # noqa: B008
    """Steps that a journal keeps; the result holds them."""
    at = folder / name
    return Job(name, at, at / "result.json", partial(count, at, seconds), {"steps": STEPS}, needs)


def count(folder: Path, seconds: float) -> None:
    with kept_steps(folder / "steps.jsonl", {"steps": STEPS}) as step:
        found = [step(partial(_one_step, folder, number, seconds)) for number in range(STEPS)]
    write_json(folder / "result.json", found)


def _one_step(folder: Path, number: int, seconds: float) -> int:
    with (folder / "computed.txt").open("a", encoding="utf-8") as file:
        file.write(f"{number}\n")
    time.sleep(seconds / STEPS)
    return number**2


def refuse() -> None:
    raise BadInput("this must be right; got wrong at here; mend it")


def break_down() -> None:
    raise ValueError("a fault in the code")


def run_out_of_memory() -> None:
    raise MemoryError("no more")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failing_job(name: str, folder: Path) -> Job:
    """One of the four above, by its name."""
    works = {"refuse": refuse, "break": break_down, "exhaust": run_out_of_memory, "die": die}
    return Job(name, folder / name, folder / name / "result.json", works[name])


def squares(jobs: Sequence[Job]) -> list[object]:
    return [read_json(job.result) for job in jobs]


class Killing:
    """An executor whose first jobs to get somewhere are killed there, once each."""

    def __init__(self, executor: Executor, jobs: Sequence[Job], there: Callable[[Job], bool]) -> None:
        self.executor, self.left, self.there, self.lost = executor, list(jobs), there, 0

    def resources(self) -> Room:
        return self.executor.resources()

    def submit(self, job: Job) -> None:
        self.executor.submit(job)

    def poll(self) -> Mapping[str, str]:
        for job in list(self.left):
            begun = [entry["pid"] for entry in entries_of(job) if "pid" in entry]
            if begun and self.there(job):
                os.kill(begun[0], signal.SIGKILL)
                self.left.remove(job)
                self.lost += 1
        return self.executor.poll()

    def running(self) -> frozenset[str]:
        return self.executor.running()

    def cancel(self) -> None:
        self.executor.cancel()


class Losing:
    """An executor that loses one of its two nodes, of one core each, while both work and so many jobs are done."""

    def __init__(self, executor: Executor, cluster: Any, jobs: Sequence[Job], done: int) -> None:
        self.executor, self.cluster, self.jobs, self.done, self.lost = executor, cluster, jobs, done, 0

    def resources(self) -> Room:
        return self.executor.resources()

    def submit(self, job: Job) -> None:
        self.executor.submit(job)

    def poll(self) -> Mapping[str, str]:
        begun = [job for job in self.jobs if not job.done and any("began" in entry for entry in entries_of(job))]
        if not self.lost and len(begun) > 1 and sum(job.done for job in self.jobs) >= self.done:
            self.cluster.remove_node(next(iter(self.cluster.worker_nodes)), allow_graceful=False)
            self.lost = 1
        return self.executor.poll()

    def running(self) -> frozenset[str]:
        return self.executor.running()

    def cancel(self) -> None:
        self.executor.cancel()


def entries_of(job: Job) -> list[dict[str, Any]]:
    """Of a job that may be running: its journal is read and left as it is."""
    if not job.attempts.exists():
        return []
    whole, _, _ = job.attempts.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def in_the_middle(job: Job) -> bool:
    """Whether a counted job has computed some of its steps."""
    return 1 < len(computed(job)) < STEPS


def computed(job: Job) -> list[str]:
    """The steps that a counted job has computed, in order, with those that it did twice."""
    file = job.folder / "computed.txt"
    return file.read_text().split() if file.exists() else []
