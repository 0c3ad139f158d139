"""An attempt as a child process, forked from a server that has imported torch: it starts within milliseconds.

A child is the leader of its own process group: Ctrl-C does not reach it, killing it ends what it started, and it ends with
the process that asked for it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from threading import Thread

from dormant.sweeps.attempt import Seat, run_attempt


class Child:
    """A process for one attempt, which may wait for it: then the job has nothing to wait for."""

    def __init__(self) -> None:
        """Fork it."""
        theirs, self._tell = _context().Pipe(duplex=False)
        self.process: ForkServerProcess = _context().Process(target=_wait_and_run, args=(theirs,))
        self.process.start()
        theirs.close()

    def run(self, pickled: bytes, seat: Seat) -> None:
        """Begin the attempt of a pickled job, which is unpickled, with all that it imports, in the child alone."""
        with suppress(BrokenPipeError):  # it has died, and says how itself
            self._tell.send((pickled, seat))
        self._tell.close()

    @property
    def ended(self) -> str | None:
        """How it ended, empty where by itself; None while it runs."""
        code = self.process.exitcode
        if code is None or code == 0:
            return None if code is None else ""
        return f"exit status {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"

    def wait(self) -> str:
        """How it ended, as soon as it has."""
        self.process.join()
        return self.ended or ""

    def kill(self) -> None:
        """End it and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.kill()  # where it had no group yet
        self.process.join()


def begin_server() -> None:
    """Let the server that children are forked from import what they need, beside whatever this process does."""
    _context()
    forkserver.ensure_running()


def gpu_memory() -> int:
    """The bytes that are free on the visible GPU which has the least. A child asks, since asking starts CUDA."""
    with ProcessPoolExecutor(1, mp_context=_context()) as pool:
        return pool.submit(_least_free).result()


def _least_free() -> int:
    import torch

    return min(int(torch.cuda.mem_get_info(number)[0]) for number in range(torch.cuda.device_count()))


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dormant.sweeps.warm"])
    return context


def _wait_and_run(told: Connection) -> None:
    os.setsid()
    Thread(target=_end_with_parent, daemon=True).start()
    pickled, seat = told.recv()
    run_attempt(pickle.loads(pickled), seat)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)
