"""Jobs on a Ray cluster: a task each, with its memory and its share of a GPU; Ray decides where and when."""

from __future__ import annotations

import pickle
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dormant.errors import BadInput, first_line
from dormant.sweeps.attempt import Seat
from dormant.sweeps.child import Child
from dormant.sweeps.executor import Wish
from dormant.sweeps.job import Job, Room, read_attempts

HOST_AND_PORT = re.compile(r"(?:ray://)?(?P<host>[^/:]+):(?P<port>\d+)")
ANSWERS_WITHIN = 10.0  # seconds: Ray itself would try for minutes
SMALLEST_SHARE = 0.01  # of a GPU: a hundred jobs on one are more than any has room for


class RayExecutor:
    """The executor of a Ray cluster, of an existing one at its address, else of one that is started here."""

    def __init__(self, wish: Wish, address: str | None) -> None:
        """Connect; raises BadInput without ray, and where nothing answers at the address."""
        self._ray, self._wish = _ray(), wish
        try:
            if address is not None and (found := HOST_AND_PORT.fullmatch(address)):
                socket.create_connection((found["host"], int(found["port"])), ANSWERS_WITHIN).close()
            if not self._ray.is_initialized():
                self._ray.init(address=address, log_to_driver=False)
        except Exception as error:  # Ray raises many kinds here, and they change with its version
            raise BadInput(
                f"a Ray cluster must answer; got {first_line(error)!r} at {address or 'this machine'}; start one with "
                "`ray start --head`, or correct the address"
            ) from error
        self._tasks: dict[Any, Job] = {}

    def resources(self) -> Room:
        """What the largest node has; the memory of its GPUs is what the wish says."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = any(node.get("GPU") for node in nodes)
        return Room(int(max((node.get("memory", 0) for node in nodes), default=0)), self._wish.gpu_memory or None, gpus)

    def submit(self, job: Job) -> None:
        """Hand a job to Ray, which is not to try again by itself."""
        asked: dict[str, Any] = {"num_cpus": self._wish.threads or 1, "memory": job.needs.memory, "max_retries": 0}
        if job.needs.gpu_memory:
            share = job.needs.gpu_memory / self._wish.gpu_memory if self._wish.gpu_memory else 1.0
            asked["num_gpus"] = max(SMALLEST_SHARE, round(share + SMALLEST_SHARE / 2, 2)) if share < 1 else 1
        task = (
            self._ray.remote(attempt_as_task)
            .options(**asked)
            .remote(pickle.dumps(job), Path.cwd(), self._wish.threads or 1)
        )
        self._tasks[task] = job

    def poll(self) -> Mapping[str, str]:
        """See which tasks have ended, and how."""
        if not self._tasks:
            return {}
        ended, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return {self._tasks.pop(task).name: self._how(task) for task in ended}

    def running(self) -> frozenset[str]:
        """The jobs whose last attempt has begun and not ended."""
        last = {job.name: read_attempts(job)[-1:] for job in self._tasks.values()}
        return frozenset(name for name, entries in last.items() if any("began" in entry for entry in entries))

    def cancel(self) -> None:
        """End every task; a child ends with the worker that runs it."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._tasks.clear()

    def _how(self, task: Any) -> str:
        try:
            return str(self._ray.get(task))
        except Exception as error:  # of Ray: the worker or its node died, or the memory ran out
            return f"{type(error).__name__}: {first_line(error)}"


def attempt_as_task(pickled: bytes, folder: Path, threads: int) -> str:
    """One attempt at a pickled job in a child of Ray's worker, which Ray has given its GPU; how it ended."""
    child = Child()
    child.run(pickled, Seat(folder, threads))
    return child.wait()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise BadInput(
            "--executor ray needs the package ray; got none installed; pip install 'dormant[cluster]'"
        ) from error
    return ray
