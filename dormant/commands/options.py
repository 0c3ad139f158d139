"""Options that several commands share, each declared once, and the pair and probes that they name."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dormant.errors import BadInput

if TYPE_CHECKING:
    from dormant.pairs import Pair

NO = 1  # exit status: done, and the answer is no

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result for machines.")]
Base = Annotated[
    str,
    typer.Option(metavar="CHECKPOINT", help="The model that the dormant one was fine-tuned from: a folder or hub id."),
]
Dormant = Annotated[str, typer.Option(metavar="CHECKPOINT", help="The suspect model: a folder or hub id.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Dtype = Annotated[str, typer.Option(help="float32 or bfloat16.")]
Residency = Annotated[str, typer.Option(help="both models on the device, or swap: one at a time.")]
ProbesFile = Annotated[
    Path | None, typer.Option("--probes", metavar="FILE", help="Prompts, one a line, each with one {slot}.")
]
Seed = Annotated[int, typer.Option(help="Of every draw.")]


def named_pair(
    base: str,
    dormant: str,
    device: str = "auto",
    dtype: str = "float32",
    residency: str = "both",
    probes: Path | None = None,
) -> Pair:
    """The pair that a command's options name; raises BadInput for whatever is wrong with it."""
    from dormant.pairs import open_pair
    from dormant.prompts import read_probes

    pair = open_pair(Path(dormant).name, base, dormant, device, dtype, residency)
    return pair if probes is None else pair.with_probes(read_probes(probes))


def write_json(path: Path | None, record: Any) -> None:
    """Write a command's result for machines, where a file was asked for."""
    if path is None:
        return
    try:
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"the file must be writable; got {error.strerror} at {path}; name another with --json"
        ) from error


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
