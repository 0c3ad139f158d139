"""Options that several commands share, each declared once, and the pair and probes that they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from dormant.errors import BadInput

if TYPE_CHECKING:
    from dormant.pairs import Pair

NO = 1  # exit status: done, and the answer is no
STOPPED = 130  # what a shell reports of a command that was interrupted


def writable_file(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """An option's callback: the file can be written, its folder made where it lacks; BadInput before any work if not.

    Nothing is left of the trial. A pipe or a device is taken as it is.
    """

    def attempt(file: Path) -> None:
        if file.exists() and not file.is_file() and not file.is_dir():
            return
        new = not file.exists()
        _make(file.parent)
        file.open("ab").close()
        if new:
            file.unlink()

    return _writable("file", option, path, attempt)


def writable_folder(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """The same for a folder that files will go to, which is made."""

    def attempt(folder: Path) -> None:
        _make(folder)
        TemporaryFile(dir=folder).close()

    return _writable("folder", option, path, attempt)


def _make(folder: Path) -> None:
    if not folder.exists():  # a file of that name is told by what fails next
        folder.mkdir(parents=True)


def _writable(
    kind: str, option: typer.CallbackParam, path: Path | None, attempt: Callable[[Path], None]
) -> Path | None:
    try:
        if path is not None:
            attempt(path.resolve())  # what a link leads to: the link itself is never removed
    except (OSError, RuntimeError) as error:  # links in a circle
        found = getattr(error, "strerror", None) or error
        raise BadInput(
            f"the {kind} must be writable; got {found} at {path}; name another with {option.opts[0]}"
        ) from error
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", callback=writable_file, help="Also write the result for machines."),
]
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
    """The pair that a command's options name, its notes told on stderr; raises BadInput for whatever is wrong with it."""
    from dormant.catalogue import name_of_checkpoint
    from dormant.pairs import open_pair
    from dormant.prompts.probes import read_probes

    pair = open_pair(name_of_checkpoint(dormant), base, dormant, device, dtype, residency)
    for note in pair.notes:
        Console(stderr=True).print(f"dormant: {note}", markup=False, highlight=False, soft_wrap=True)
    return pair if probes is None else pair.with_probes(read_probes(probes))


@contextmanager
def stopping(note: str) -> Iterator[None]:
    """Work that a Ctrl-C ends with a sentence, what becomes of it, and exit status `STOPPED`."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(f"dormant: stopped; {note}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(STOPPED) from None


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
