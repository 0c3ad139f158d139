"""A bar for long work, with rate and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol, runtime_checkable

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from dormant.terminal import console

LINE_EVERY = 60.0  # seconds between two lines in a log


@runtime_checkable
class Progress(Protocol):
    """What long work calls while it runs."""

    def __call__(self, done: int, total: int, remark: str = "", /) -> None:
        """So much is done of so much, in the unit of the work."""
        ...


@contextmanager
def progress_bar(title: str, total: int, unit: str, file: IO[str] | None = None) -> Iterator[Progress]:
    """A bar on stderr, or in `file`, with rate and time left; without a terminal, as in a log, a line a minute."""
    screen = console(file, stderr=True)
    named, state = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[state]}", markup=False)
    columns = named, BarColumn(), TaskProgressColumn(), state, TimeRemainingColumn()
    with Bars(*columns, console=screen, disable=not screen.is_terminal) as bars:
        task = bars.add_task(title, total=total, state="")
        started = written = time.perf_counter()

        def update(done: int, total: int, remark: str = "", /) -> None:
            nonlocal written
            now = time.perf_counter()
            rate = done / max(now - started, 1e-9)
            state = f"{rate:.3g} {unit}/s{', ' * bool(remark)}{remark}"
            bars.update(task, completed=done, total=total, state=state)
            if not screen.is_terminal and now - written >= LINE_EVERY and done:
                written, left = now, (total - done) / rate / 60
                screen.print(f"{title}: {done:,} of {total:,}, {state}, {left:.0f} minutes left")

        yield update


@dataclass
class CountedSteps:
    """Steps of work that report progress: each gives a list, whose entries are counted; `total` may grow."""

    step: Callable[[Callable[[], Any]], Any]  # a journal's `JournalStep`
    progress: Progress | None
    total: int
    done: int = 0

    def __call__(self, compute: Callable[[], Any]) -> Any:
        """The step's list."""
        found = self.step(compute)
        self.done += len(found)
        if self.progress is not None:
            self.progress(self.done, self.total)
        return found
