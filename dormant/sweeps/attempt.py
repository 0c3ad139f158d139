"""One attempt at a job, in a process of its own: what it prints goes to the log, and what goes wrong into a record."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dormant.errors import BadInput, first_line
from dormant.gpus import take_gpu
from dormant.sweeps.job import FAILURE, Failure, Job, open_attempts, write_failure
from dormant.sweeps.working_copy import working_copy

PATIENCE = 60.0  # seconds for a predecessor to die: a process whose node or parent was killed ends within seconds
LOOK_AGAIN = 0.05  # seconds
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Seat:
    """Where an attempt runs: its working folder, its threads (None: as they are), and its GPU's place among the visible."""

    folder: Path
    threads: int | None = None
    gpu: int | None = None

    def take(self) -> None:
        """Sit down: before torch has started a thread or CUDA."""
        os.chdir(self.folder)
        if self.threads is not None:
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(self.threads)))
            if "torch" in sys.modules:  # then it has read the variables already
                import torch

                torch.set_num_threads(self.threads)
        if self.gpu is not None:
            take_gpu(self.gpu)


def run_attempt(job: Job, seat: Seat) -> None:
    """Work until the result is there; a failure is recorded in the job's folder, and nothing is raised for it.

    A job that is done already, by an attempt that was believed dead, is not done again.
    """
    seat.take()
    with locked(job.folder / ".lock", PATIENCE):
        if job.done:
            return
        with working_copy(job):
            _attempt(replace(job, store=None), job.see_log)


def _attempt(job: Job, see_log: str) -> None:
    job.place.remove(FAILURE)
    with closing(open_attempts(job)) as journal:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        journal.append({"began": now, "host": socket.gethostname(), "pid": os.getpid()})
        started = time.perf_counter()
        failure = _work(job, see_log)
        if failure is not None:
            write_failure(job, failure)
        seconds = time.perf_counter() - started
        journal.append({"ended": "failed" if failure else "done", "seconds": seconds, **_used()})


def _work(job: Job, see_log: str) -> Failure | None:
    with printing_to(job.log):
        try:
            job.work()
        except BadInput as error:
            print(f"dormant: {error}", file=sys.stderr)
            return Failure(str(error))
        except Exception as error:
            traceback.print_exc()
            out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's own
            return Failure(f"{type(error).__name__}: {first_line(error)}; {see_log}", out_of_memory)
    return None if job.done else Failure(f"the work ended without its result {job.result.name}; {see_log}")


def _used() -> dict[str, float]:
    """The processor's seconds, and the most bytes of memory at a time, of this process or of one that it started."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in used),
        "memory": max(one.ru_maxrss for one in used) * unit,
    }


@contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """Hold a lock that ends with the process; raises BlockingIOError where another holds it for `patience` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOOK_AGAIN)
        yield


@contextmanager
def printing_to(log: Path) -> Iterator[None]:
    """Within it everything that this process and its children print is appended to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, stream)
            os.close(kept)
