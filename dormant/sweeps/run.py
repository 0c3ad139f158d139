"""Run jobs to their end: what dies is tried again, what fails is named, and neither stops the others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dormant.errors import BadInput
from dormant.records import write_json
from dormant.sweeps.attempt import locked
from dormant.sweeps.executor import Executor
from dormant.sweeps.job import Failure, Job, JobStatus, Room, failure_of, read_attempts, status_of

RETRIES = 2  # a machine that ends a job three times will end it a fourth
LOOK_AGAIN_AFTER = 0.05  # seconds between two looks at what runs: a thousandth of the shortest useful job
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
        job.failure.unlink(missing_ok=True)
    tried, ended_at = Counter[str](), dict[str, float]()
    try:
        for job in left.values():
            executor.submit(job)
        while left:
            for name, how in executor.poll().items():
                if how and not _has_said_why(left[name]):
                    write_json(left[name].failure, Failure(how, again=True))
                ended_at[name] = time.monotonic()
            for name in [name for name, at in ended_at.items() if _has_settled(left[name], at)]:
                job, failure = left[name], failure_of(left[name])
                del ended_at[name]
                if not job.done and (failure is None or failure.again) and tried[name] < retries:
                    tried[name] += 1
                    job.failure.unlink(missing_ok=True)
                    executor.submit(job)
                    continue
                if not job.done and (failure is None or failure.again):
                    why = failure.reason if failure else f"it left neither result nor reason; see {job.log}"
                    write_json(job.failure, Failure(f"ended {tried[name] + 1} times; the last time: {why}", again=True))
                del left[name]
                tell(status_of(job), len(jobs) - len(left))
            time.sleep(LOOK_AGAIN_AFTER)
    except BaseException:
        executor.cancel()
        raise
    return [status_of(job) for job in jobs]


def _has_said_why(job: Job) -> bool:
    return job.done or job.failure.exists()


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
def one_sweep(folder: Path) -> Iterator[None]:
    """Hold a folder for one sweep; raises BadInput where another sweep holds it, or nothing can be written."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / ".lock", 0.0))
        except BlockingIOError as error:
            raise BadInput(
                f"a folder belongs to one sweep at a time; got another that runs in it at {folder}; wait for that one, or "
                "name another folder"
            ) from error
        except OSError as error:
            raise BadInput(
                f"the folder must be writable; got {error.strerror} at {folder}; name another folder"
            ) from error
        yield
