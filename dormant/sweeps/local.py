"""Jobs on this machine: a process each, as many at a time as there are seats, and as many as its memory holds."""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import psutil

from dormant.gpus import visible_gpus
from dormant.sweeps.attempt import Seat
from dormant.sweeps.child import Child, begin_server, gpu_memory
from dormant.sweeps.executor import Wish
from dormant.sweeps.job import Job, Room

CORES_A_JOB = 2  # as a hunt is meant to have


class LocalExecutor:
    """The executor of this machine.

    Where there are GPUs each job that wants one gets the one with most room. Jobs start in their order: one that finds
    no room yet holds back those behind it, so that it is not overtaken for ever.
    """

    def __init__(self, wish: Wish) -> None:
        """Starts nothing yet; by default a job at a time for each GPU, and without GPUs for every two cores."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._gpus = len(visible_gpus())
        self.workers = wish.workers or self._gpus or max(1, cores // CORES_A_JOB)
        self.threads = wish.threads or max(1, cores // self.workers)
        begin_server()
        self._room = Room(int(psutil.virtual_memory().available), gpu_memory() if self._gpus else None, self._gpus > 0)
        self._waiting = deque[Job]()
        self._running: dict[str, tuple[Child, Job, int | None]] = {}
        self._spare: Child | None = None  # forked ahead, while jobs wait

    def resources(self) -> Room:
        """What was free when this began."""
        return self._room

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._waiting.append(job)

    def poll(self) -> Mapping[str, str]:
        """See what has ended, and start what has room."""
        ended = {name: how for name, (child, _, _) in self._running.items() if (how := child.ended) is not None}
        for name in ended:
            del self._running[name]
        while self._waiting and len(self._running) < self.workers and self._has_room(self._waiting[0]):
            job = self._waiting.popleft()
            gpu = self._freest_gpu() if job.needs.gpu_memory and self._gpus else None
            child, self._spare = self._spare or Child(), None
            child.run(pickle.dumps(job), Seat(Path.cwd(), self.threads, gpu))
            self._running[job.name] = child, job, gpu
        if self._waiting and self._spare is None:
            self._spare = Child()
        return ended

    def running(self) -> frozenset[str]:
        """The jobs that have a process."""
        return frozenset(self._running)

    def cancel(self) -> None:
        """End every process."""
        self._waiting.clear()
        for child in (self._spare, *(child for child, _, _ in self._running.values())):
            if child is not None:
                child.kill()
        self._spare = None
        self._running.clear()

    def _has_room(self, job: Job) -> bool:
        memory = sum(other.needs.memory for _, other, _ in self._running.values())
        if self._running and memory + job.needs.memory > (self._room.memory or 0):
            return False
        taken = self._gpu_memory_taken(self._freest_gpu()) if self._gpus else 0
        return not taken or taken + job.needs.gpu_memory <= (self._room.gpu_memory or 0)

    def _freest_gpu(self) -> int:
        return min(range(self._gpus), key=self._gpu_memory_taken)

    def _gpu_memory_taken(self, gpu: int) -> int:
        return sum(job.needs.gpu_memory for _, job, taken in self._running.values() if taken == gpu)
