"""Work in parts, each a job, on whatever runs jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from dormant.errors import BadInput
from dormant.pairs import Pair, open_pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe
from dormant.sweeps.executor import Wish, executor_named
from dormant.sweeps.job import Job, JobStatus, Needs, State
from dormant.sweeps.needs import needs_of
from dormant.sweeps.run import check_fits, one_sweep, run_jobs

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """In how many parts, by which executor with how many workers, and the folder of the parts, which every host must see.

    Without a folder one in the working folder is made, and removed at the end.
    """

    parts: int
    executor: str = "local"
    workers: int | None = None
    folder: Path | None = None

    @contextmanager
    def place(self, work: str) -> Iterator[Path]:
        """The folder of that work, by its whole path; raises BadInput where none can be made."""
        if self.folder is not None:
            yield self.folder.absolute()
            return
        try:
            made = TemporaryDirectory(prefix=f".{work}-", dir=Path.cwd())
        except OSError as error:
            raise BadInput(
                f"the working folder must be writable for the parts of a {work}; got {error.strerror} at {Path.cwd()}; name "
                "another folder with --journal"
            ) from error
        with made as folder:
            yield Path(folder)


@dataclass(frozen=True)
class PairOfParts:
    """The pair of a work in parts with its probes, as each part opens it again, and the models' settings."""

    name: str
    base: str | None
    dormant: str
    device: str
    dtype: str
    residency: str
    probes: tuple[Probe, ...]

    def open(self) -> Pair:
        """The pair, in a part's own process."""
        return open_pair(self.name, self.base, self.dormant, self.device, self.dtype, self.residency).with_probes(
            self.probes
        )

    def needs(self, verb: str, opened: Pair) -> Needs:
        """What a part needs of a machine: as much as the verb."""
        options = {"device": self.device, "dtype": self.dtype, "residency": self.residency}
        on_gpu = opened.models.run_config.device.type == "cuda"
        return needs_of(verb, (opened.base, opened.dormant), options, on_gpu)


def run_parts(
    work: str,
    spread: Spread,
    jobs_in: Callable[[Path], Sequence[Job]],
    read: Callable[[Path], T],
    progress: Progress | None,
) -> list[T]:
    """What each part of the work, a scan or a search, leaves in its file.

    A part that is done stays done, and one that was killed goes on from its journal. Raises BadInput where a part fails.
    """
    with spread.place(work) as folder, one_sweep(folder):
        jobs = jobs_in(folder)
        executor = executor_named(spread.executor, Wish(spread.workers), folder)
        check_fits(jobs, executor.resources())

        def tell(status: JobStatus, ended: int) -> None:
            if progress is not None:
                progress(ended, len(jobs), status.name)

        statuses = run_jobs(jobs, executor, tell=tell)
        if failed := [f"{status.name}: {status.reason}" for status in statuses if status.state is not State.DONE]:
            raise BadInput(
                f"every part of a {work} must end; got {'; '.join(failed)} at {folder}; mend it and call again"
            )
        return [read(job.result) for job in jobs]
