"""A job: work of its own process with a folder of its own, whose result is there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.journal import Journal
from dormant.records import json_text, read_text
from dormant.sweeps.store import Folder, Place, Store

ATTEMPTS = "attempts.jsonl"
LOG = "log.txt"
FAILURE = "failure.json"  # why the last attempt ended without a result, where it could say so


@dataclass(frozen=True)
class Needs:
    """What a job takes while it runs, in bytes: of the machine's memory, and of a GPU's, 0 where it wants none."""

    memory: int = 0
    gpu_memory: int = 0


@dataclass(frozen=True)
class Room:
    """The most that one job can have, in bytes, None where nobody knows before it is queued; whether there are GPUs."""

    memory: int | None = None
    gpu_memory: int | None = None
    gpus: bool = False


@dataclass(frozen=True)
class Job:
    """One piece of a sweep.

    work: a call that leaves `result` whole or not at all and goes on where a killed one stopped; a fresh process imports it.
    identity: what determines the result; another identity in the same place is refused. store: what keeps the job's files
    where hosts share no folder; the job then works in its folder, and the result is the file that is put last.
    """

    name: str
    folder: Path
    result: Path
    work: Callable[[], object]
    identity: Mapping[str, Any] = field(default_factory=dict)
    needs: Needs = Needs()
    store: Store | None = None

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        if self.store is None:
            return self.result.exists()
        return self.store.exists(self.result.relative_to(self.folder).as_posix())

    @property
    def place(self) -> Place:
        """Where the files are that every host sees."""
        return self.store or Folder(self.folder)

    @property
    def attempts(self) -> Path:
        """The journal of the attempts: a line at each start, and one at each end that was no kill."""
        return self.folder / ATTEMPTS

    @property
    def log(self) -> Path:
        """What the attempts print."""
        return self.folder / LOG

    @property
    def see_log(self) -> str:
        """Where a person finds that, for the end of a sentence."""
        return f"see {self.place}/{LOG}"


@dataclass(frozen=True)
class Failure:
    """Why an attempt gave no result, and whether another attempt may."""

    reason: str
    again: bool = False


class State(StrEnum):
    """Where a job stands; `open` is one that was never begun, or that was stopped and resumes."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"
    OPEN = "open"


@dataclass(frozen=True)
class JobStatus:
    """Where a job stands, how often it was begun, the seconds of the attempt that ended it, and why it failed."""

    name: str
    state: State
    attempts: int = 0
    seconds: float | None = None
    reason: str = ""


def failure_of(job: Job) -> Failure | None:
    """Why the last attempt gave no result; None where it has one, runs, or was killed."""
    return read_failure(job.place)


def read_failure(place: Place) -> Failure | None:
    """Why a place holds no result, where an attempt could say so; BadInput for what is no such record."""
    text = place.read(FAILURE)
    return None if text is None else read_text(Failure, text, f"{FAILURE} of {place}")


def write_failure(job: Job, failure: Failure) -> None:
    """Say why an attempt gave no result."""
    job.place.write(FAILURE, json_text(failure) + "\n")


def status_of(job: Job, running: bool = False) -> JobStatus:
    """Where a job stands, by what its folder holds; `running` where the caller knows that an attempt is under way."""
    entries = read_attempts(job)
    begun = sum("began" in entry for entry in entries)
    seconds = next((entry["seconds"] for entry in reversed(entries) if "seconds" in entry), None)
    if job.done:
        return JobStatus(job.name, State.DONE, begun, seconds)
    if running:
        return JobStatus(job.name, State.RUNNING, begun)
    if (failed := failure_of(job)) is not None:
        return JobStatus(job.name, State.FAILED, begun, seconds, failed.reason)
    return JobStatus(job.name, State.OPEN, begun)


def read_attempts(job: Job) -> list[Any]:
    """The entries of a job's attempts, which may be running; BadInput where its folder holds those of other work."""
    try:
        whole, _, _ = (job.place.read(ATTEMPTS) or "").rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
    except (OSError, ValueError) as error:
        raise BadInput(
            f"a job's attempts must be readable JSON lines; got {error} at {job.place}; remove that folder"
        ) from error
    if lines and lines[0] != {"work": json.loads(json.dumps(_work(job)))}:
        raise BadInput(
            f"a job's folder must hold the same work to be resumed; got {json.dumps(lines[0])[:160]} at {job.place}; name "
            "another folder for this work, or remove that one"
        )
    return lines[1:]


def open_attempts(job: Job) -> Journal:
    """The journal of a job's attempts, for the one process that holds the job's lock."""
    return Journal(job.attempts, _work(job))


def _work(job: Job) -> dict[str, Any]:
    return {"job": job.name, **job.identity}
