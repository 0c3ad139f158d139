"""Jobs on SLURM, through submitit: a batch job each, with its memory, cores and GPU; SLURM decides where and when."""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dormant.errors import BadInput, first_line
from dormant.sweeps.attempt import Seat, run_attempt
from dormant.sweeps.executor import Wish
from dormant.sweeps.job import Job, Room

MINUTES = 24 * 60  # that a job may run unless the list's table [slurm] says timeout_min


class SlurmExecutor:
    """The executor of a SLURM cluster, or with cluster "local" of submitit's own processes on this machine."""

    def __init__(self, wish: Wish, folder: Path, cluster: str) -> None:
        """Check that submitit and SLURM are there; BadInput where they are not, or do not know a setting."""
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise BadInput(
                "--executor slurm needs SLURM's commands; got no sbatch on this machine; run it on a login node"
            )
        self._wish, self._executor = wish, _submitit().AutoExecutor(folder=folder / "submitit", cluster=cluster)
        try:
            self._executor.update_parameters(timeout_min=MINUTES)
            self._executor.update_parameters(**wish.settings)
        except (NameError, ValueError, TypeError) as error:
            raise BadInput(
                f"the table [slurm] must hold parameters of submitit; got {first_line(error)!r}; correct it"
            ) from error
        self._waiting = deque[Job]()
        self._submitted: dict[str, Any] = {}

    def resources(self) -> Room:
        """Unknown, because partitions have nodes of several kinds; there are GPUs where the settings ask for them."""
        return Room(gpus=any("gpu" in name or "gres" in name for name in self._wish.settings))

    def submit(self, job: Job) -> None:
        """Submit a job, or keep it where `workers` are in the queue."""
        self._waiting.append(job)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._submitted) < (self._wish.workers or math.inf):
            self._submit(self._waiting.popleft())

    def _submit(self, job: Job) -> None:
        """Submit a job with what it needs; its GPU is what the settings ask for."""
        threads = self._wish.threads or 1
        self._executor.update_parameters(
            name=job.name, cpus_per_task=threads, mem_gb=max(1, math.ceil(job.needs.memory / 1e9))
        )
        self._submitted[job.name] = self._executor.submit(run_attempt, job, Seat(Path.cwd(), threads))

    def poll(self) -> Mapping[str, str]:
        """See which jobs have left the queue, and how."""
        ended = {name: submitted for name, submitted in self._submitted.items() if submitted.done()}
        for name in ended:
            del self._submitted[name]
        self._fill()
        return {name: self._how(submitted) for name, submitted in ended.items()}

    def running(self) -> frozenset[str]:
        """The jobs that SLURM says are running."""
        return frozenset(name for name, submitted in self._submitted.items() if submitted.state == "RUNNING")

    def cancel(self) -> None:
        """Cancel every job."""
        self._waiting.clear()
        for submitted in self._submitted.values():
            submitted.cancel(check=False)
        self._submitted.clear()

    def _how(self, submitted: Any) -> str:
        try:
            error = submitted.exception()
        except Exception as broken:  # submitit's own where the job left no result
            error = broken
        return "" if error is None else f"{submitted.state}: {first_line(error)}"


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise BadInput(
            "--executor slurm needs the package submitit; got none installed; pip install 'dormant[slurm]'"
        ) from error
    return submitit
