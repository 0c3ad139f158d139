"""What runs jobs: this machine, a Ray cluster or SLURM, behind four functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dormant.errors import BadInput
from dormant.sweeps.job import Job, Room


class Executor(Protocol):
    """Runs each job that it is given, at once or when there is room, and never twice unless it is given twice."""

    def resources(self) -> Room:
        """The most that one job can have here."""
        ...

    def submit(self, job: Job) -> None:
        """Accept a job."""
        ...

    def poll(self) -> Mapping[str, str]:
        """The jobs that have ended since the last call, by name: how one died, and nothing for one that ended by itself."""
        ...

    def running(self) -> frozenset[str]:
        """The names of the jobs that have begun and not ended, as far as is known."""
        ...

    def cancel(self) -> None:
        """End every job at once and forget those that wait."""
        ...


@dataclass(frozen=True)
class Wish:
    """How a person wants the jobs to run: so many at a time, threads for each, and what the scheduler is to be told.

    gpu_memory: bytes of one GPU of a cluster, which jobs share then; 0: a GPU for each. settings: SLURM's, by name.
    """

    workers: int | None = None
    threads: int | None = None
    gpu_memory: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


def executor_named(name: str, wish: Wish, folder: Path) -> Executor:
    """The executor of `local`, `ray`, `ray:ADDRESS`, `slurm` or `slurm:local`; raises BadInput for what is not there.

    `slurm:local` runs what `slurm` would submit on this machine. folder: for what a scheduler keeps.
    """
    kind, _, where = name.partition(":")
    if name == "local":
        from dormant.sweeps.local import LocalExecutor

        return LocalExecutor(wish)
    if kind == "ray":
        from dormant.sweeps.on_ray import RayExecutor

        return RayExecutor(wish, where or None)
    if name in ("slurm", "slurm:local"):
        from dormant.sweeps.on_slurm import SlurmExecutor

        return SlurmExecutor(wish, folder, where or "slurm")
    raise BadInput(
        f"an executor must be local, ray, ray:ADDRESS, slurm or slurm:local; got {name!r} at --executor; correct it"
    )
