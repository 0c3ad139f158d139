"""Run jobs to their end: what dies is tried again, what fails is named, and neither stops the others."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dormant.errors import BadInput
from dormant.sweeps.attempt import locked
from dormant.sweeps.executor import Executor
from dormant.sweeps.job import (
    FAILURE,
    Failure,
    Job,
    JobStatus,
    Room,
    failure_of,
    read_attempts,
    status_of,
    write_failure,
)
from dormant.sweeps.store import Store

RETRIES = 2  # a machine that ends a job three times will end it a fourth
LOOK_AGAIN_AFTER = 0.05  # seconds between two looks at what runs: a thousandth of the shortest useful job
HOLDER = "sweep.lock"  # in a store: the host and the process of the sweep that it belongs to
FOLDER_DELAY = 60.0  # seconds after which a network folder shows what another host wrote, by NFS's longest cache

Tell = Callable[[JobStatus, int], None]  # one job has ended, and so many have ended or were done before


def run_jobs(
    jobs: Sequence[Job],
    executor: Executor,
    retries: int = RETRIES,
    tell: Tell = lambda status, ended: None,
) -> list[JobStatus]:
    """Run what is not done yet, and say where each job stands at the end; on any exception every job is ended first.

    A job that was killed, or that ran out of memory, is tried again, at most `retries` times. Raises BadInput, before
    anything runs, for a folder that holds other work.
    """
    for job in jobs:
        read_attempts(job)
    left = {job.name: job for job in jobs if not job.done}
    for job in left.values():
        job.place.remove(FAILURE)
    tried, ended_at = Counter[str](), dict[str, float]()
    try:
        for job in left.values():
            executor.submit(job)
        while left:
            for name, how in executor.poll().items():
                if how and not _has_said_why(left[name]):
                    write_failure(left[name], Failure(how, again=True))
                ended_at[name] = time.monotonic()
            for name in [name for name, at in ended_at.items() if _has_settled(left[name], at)]:
                job, failure = left[name], failure_of(left[name])
                del ended_at[name]
                if not job.done and (failure is None or failure.again) and tried[name] < retries:
                    tried[name] += 1
                    job.place.remove(FAILURE)
                    executor.submit(job)
                    continue
                if not job.done and (failure is None or failure.again):
                    why = failure.reason if failure else f"it left neither result nor reason; {job.see_log}"
                    write_failure(job, Failure(f"ended {tried[name] + 1} times; the last time: {why}", again=True))
                del left[name]
                tell(status_of(job), len(jobs) - len(left))
            time.sleep(LOOK_AGAIN_AFTER)
    except BaseException:
        executor.cancel()
        raise
    return [status_of(job) for job in jobs]


def _has_said_why(job: Job) -> bool:
    return job.done or job.place.exists(FAILURE)


def _has_settled(job: Job, ended_at: float) -> bool:
    """Whether its folder shows how it ended, which takes a while where another host wrote to it."""
    return _has_said_why(job) or time.monotonic() > ended_at + FOLDER_DELAY


def check_fits(jobs: Sequence[Job], room: Room) -> None:
    """Raises BadInput, before anything runs, naming each job that can never run here, and what there is."""
    faults = [
        f"{needed / 1e9:.3g} GB of {kind} for {job.name} where one can have {there / 1e9:.3g} GB"
        for job in jobs
        for kind, needed, there in (
            ("GPU memory", job.needs.gpu_memory, room.gpu_memory),
            ("memory", job.needs.memory, room.memory),
        )
        if there is not None and needed > there
    ]
    if faults:
        raise BadInput(
            f"every job must fit; got {'; '.join(faults)}; run these with dtype bfloat16 or residency swap, on the CPU, or "
            "where there is more"
        )


@contextmanager
def one_sweep(folder: Path, store: Store | None = None) -> Iterator[None]:
    """Hold a folder, and the store that keeps it, for one sweep.

    Raises BadInput where another sweep holds it, or nothing can be written.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock", 0.0))
        except BlockingIOError as error:
            raise BadInput(
                f"a folder belongs to one sweep at a time; got another that runs in it at {store or folder}; wait for that "
                "one, or name another folder"
            ) from error
        except OSError as error:
            raise BadInput(
                f"the folder must be writable; got {error.strerror} at {folder}; name another folder"
            ) from error
        if store is not None:
            held.enter_context(_held(store))
        yield


@contextmanager
def _held(store: Store) -> Iterator[None]:
    """Hold a store by a file in it, which stays where its sweep is killed; another sweep of the same host clears it away."""
    store.check()
    mine = f"{socket.gethostname()} {os.getpid()}"
    if (holder := store.read(HOLDER)) is not None and holder.split()[:1] == [socket.gethostname()]:
        store.remove(HOLDER)  # the lock of this host's folder says that its process is gone
    if not store.create(HOLDER, mine):
        raise BadInput(
            f"a folder belongs to one sweep at a time; got another, by {store.read(HOLDER)} (host and process), at {store}; "
            f"wait for that one, or remove {HOLDER} there if it was killed"
        )
    try:
        yield
    finally:
        store.remove(HOLDER)
