"""A bar for long work, with rate and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress(Protocol):
    """What long work calls while it runs."""

    def __call__(self, done: int, total: int, remark: str = "", /) -> None:
        """So much is done of so much, in the unit of the work."""
        ...


@contextmanager
def progress_bar(title: str, total: int, unit: str, file: IO[str] | None = None) -> Iterator[Progress]:
    """A bar on stderr, or the file, with rate and time left, silent where nobody watches; call it with the amount done."""
    console = Console(stderr=True) if file is None else Console(file=file)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}")
    with Bars(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(title, total=total, state="")
        started = time.perf_counter()

        def update(done: int, total: int, remark: str = "", /) -> None:
            rate = done / max(time.perf_counter() - started, 1e-9)
            bars.update(task, completed=done, total=total, state=f"{rate:.3g} {unit}/s{', ' * bool(remark)}{remark}")

        yield update


@dataclass
class CountedSteps:
    """Steps of work that report what is done: each gives a list, whose entries count; `total` may grow on the way."""

    step: Callable[[Callable[[], Any]], Any]
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
