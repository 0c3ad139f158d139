"""The parts of an exact scan as jobs, on whatever runs jobs: together they find what one process finds, to the last bit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from dormant.errors import BadInput
from dormant.layer0.exact_scan.heads import VECTORS
from dormant.layer0.exact_scan.parts import divided, joined
from dormant.layer0.exact_scan.scan import Scan, ScanPlan, scan
from dormant.layer0.pair import Layer0Pair, layer0_of
from dormant.pairs import open_pair
from dormant.progress import Progress
from dormant.prompts.token_filter import allowed_tokens
from dormant.records import json_text, read_text, to_json, write_atomically
from dormant.sweeps.executor import Wish, executor_named
from dormant.sweeps.job import Job, Needs, State
from dormant.sweeps.run import check_fits, one_sweep, run_jobs

PART_BESIDE = 2 * 10**9  # bytes: torch and its imports, and tiles of products
PART_RESULT = "scan.json"


@dataclass(frozen=True)
class ScannedPair:
    """The pair of a scan, as a job opens it again, and its device."""

    name: str
    base: str | None
    dormant: str
    device: str


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
    def place(self) -> Iterator[Path]:
        """The folder, by its whole path."""
        if self.folder is not None:
            yield self.folder.absolute()
            return
        with TemporaryDirectory(prefix=".scan-", dir=Path.cwd()) as made:
            yield Path(made)


def spread_scan(
    pair: ScannedPair, opened: Layer0Pair, plan: ScanPlan, tokens: int, spread: Spread, progress: Progress
) -> Scan:
    """The scan of `plan` over the tokens that a prompt may hold, so many, in parts.

    A part that is done stays done, and one that was killed goes on from its journal. Raises BadInput where a part fails.
    """
    plans, needs, started = divided(opened, plan, tokens, spread.parts), _needs(opened), time.perf_counter()
    with spread.place() as folder, one_sweep(folder):
        jobs = [_job(pair, each, folder / f"part-{number}", needs) for number, each in enumerate(plans)]
        executor = executor_named(spread.executor, Wish(spread.workers), folder)
        check_fits(jobs, executor.resources())
        statuses = run_jobs(jobs, executor, tell=lambda status, ended: progress(ended, len(jobs), status.name))
        if failed := [f"{status.name}: {status.reason}" for status in statuses if status.state is not State.DONE]:
            raise BadInput(
                f"every part of a scan must end; got {'; '.join(failed)} at {folder}; mend it and call again"
            )
        found = [read_text(Scan, job.result.read_text(encoding="utf-8"), job.result) for job in jobs]
    return joined(found, plan, opened.base.heads, time.perf_counter() - started)


def scan_part(pair: ScannedPair, plan: ScanPlan, folder: Path) -> None:
    """One part, in a process of its own."""
    opened = open_pair(pair.name, pair.base, pair.dormant, pair.device)
    found = scan(layer0_of(opened), plan, allowed_tokens(opened.base.tokenizer), folder / "scan.jsonl")
    write_atomically(folder / PART_RESULT, json_text(found) + "\n")


def _job(pair: ScannedPair, plan: ScanPlan, folder: Path, needs: Needs) -> Job:
    plan = replace(plan, offsets=tuple(plan.offsets), heads=tuple(plan.heads or ()))
    identity = {"scan of": to_json(pair), "plan": to_json(plan)}
    return Job(folder.name, folder, folder / PART_RESULT, partial(scan_part, pair, plan, folder), identity, needs)


def _needs(pair: Layer0Pair) -> Needs:
    held = [value for layer in (pair.base, pair.dormant) for value in vars(layer).values() if isinstance(value, Tensor)]
    weights, device = sum(value.nbytes for value in held), pair.base.embedding.device.type
    memory = PART_BESIDE + weights + 4 * VECTORS.get(device, VECTORS["cpu"])
    return Needs(memory, memory if device == "cuda" else 0)
