"""A bar for long work, with rate and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dormant.journal import Step

Report = Callable[[int, int], None]  # called with the amount done, and how much there is


@runtime_checkable
class Progressed(Protocol):
    """What `progress_bar` gives: call it with the amount done, a remark, and the total where that is only known now."""

    def __call__(self, done: int, remark: str = "", total: int | None = None) -> None: ...


@contextmanager
def progress_bar(title: str, total: int, unit: str, file: IO[str] | None = None) -> Iterator[Progressed]:
    """A bar on stderr, or the file, with rate and time left, silent where nobody watches; call it with the amount done."""
    console = Console(stderr=True) if file is None else Console(file=file)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}")
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, state="")
        started = time.perf_counter()

        def update(done: int, remark: str = "", total: int | None = None) -> None:
            rate = done / max(time.perf_counter() - started, 1e-9)
            progress.update(
                task, completed=done, total=total, state=f"{rate:.3g} {unit}/s{', ' * bool(remark)}{remark}"
            )

        yield update


@dataclass
class CountedSteps:
    """Steps of work that report what is done: each gives a list, whose entries count; `total` may grow on the way."""

    step: Step
    report: Report | None
    total: int
    done: int = 0

    def __call__(self, compute: Callable[[], Any]) -> Any:
        """The step's list."""
        found = self.step(compute)
        self.done += len(found)
        if self.report is not None:
            self.report(self.done, self.total)
        return found
