"""The options that several commands share, each declared once, and the pair that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dormant.errors import BadInput
from dormant.records import json_text
from dormant.terminal import complain

if TYPE_CHECKING:
    from dormant.pairs import Pair

NO = 1  # exit status: done, and the answer is no
FLOOR_PROBES = 8  # a mean of so many is good to about a half, and an order of magnitude is what it is read for
STOPPED = 130  # what a shell reports of a command that was interrupted


def writable_file(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """Check in an option's callback that the file can be written, and make its folder; raises BadInput before any work.

    The check leaves no file behind. A pipe or a device is accepted unchecked.
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
    """Check in an option's callback that files can be written to the folder, and make it; raises BadInput before any work."""

    def attempt(folder: Path) -> None:
        _make(folder)
        TemporaryFile(dir=folder).close()

    return _writable("folder", option, path, attempt)


def _make(folder: Path) -> None:
    if not folder.exists():  # where it is a file, the next step fails and says so
        folder.mkdir(parents=True)


def _writable(
    kind: str, option: typer.CallbackParam, path: Path | None, attempt: Callable[[Path], None]
) -> Path | None:
    try:
        if path is not None:
            attempt(path.resolve())  # the target of a link: the link itself is never removed
    except (OSError, RuntimeError) as error:  # links in a circle
        found = getattr(error, "strerror", None) or error
        raise BadInput(
            f"the {kind} must be writable; got {found} at {path}; name another with {option.opts[0]}"
        ) from error
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", callback=writable_file, help="Also write the result as JSON."),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="CHECKPOINT",
        help="The model that the dormant one was fine-tuned from: a folder or hub id (an adapter names its own).",
    ),
]
Dormant = Annotated[
    str, typer.Option(metavar="CHECKPOINT", help="The suspect model or PEFT adapter: a folder or hub id.")
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps; cuda:0,cuda:1 puts base and dormant model on a GPU each, and with --residency "
        "swap or shared a model that is too large for one over all."
    ),
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, 8bit or 4bit (the last two by bitsandbytes).")]
Residency = Annotated[
    str,
    typer.Option(
        help="both: both models on the device; shared: one base, its adapter off and on; swap: one at a time."
    ),
]
ProbesFile = Annotated[
    Path | None, typer.Option("--probes", metavar="FILE", help="A file of prompts, one a line, each with one {slot}.")
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
PartsExecutor = Annotated[
    str, typer.Option("--executor", help="Of --spread: local, ray, ray:ADDRESS, slurm or slurm:local.")
]
PartsAtOnce = Annotated[
    int | None, typer.Option("--workers", min=1, help="Of --spread: parts at a time, as a sweep's pairs.")
]


def named_pair(
    base: str | None,
    dormant: str,
    device: str = "auto",
    dtype: str = "float32",
    residency: str = "both",
    probes: Path | None = None,
) -> Pair:
    """Open the pair that a command's options name and print its notes; raises BadInput for whatever is wrong with it."""
    from dormant.catalogue import name_of_checkpoint
    from dormant.pairs import open_pair
    from dormant.prompts.probes import read_probes

    pair = open_pair(name_of_checkpoint(dormant), base, dormant, device, dtype, residency)
    for note in pair.notes:
        complain(note)
    if pair.models.run_config.bits:
        complain(_quantisation_floor(pair))
    return pair if probes is None else pair.with_probes(read_probes(probes))


def _quantisation_floor(pair: Pair) -> str:
    """How far its bits move the base from its full weights, on the first probes: smaller differences may be noise."""
    from dormant.inference.batching import batch_logits
    from dormant.inference.divergence import kl_divergence

    itself = pair.against_itself
    prompts = [itself.prompter.encode(probe).ids for probe in pair.probes[:FLOOR_PROBES]]
    logits = [batch_logits(model, prompts) for model in (itself.models.dormant(), itself.models.base())]
    itself.models.release()
    nats = float(kl_divergence(*logits).mean())
    return (
        f"in {pair.models.run_config.bits} bits the base alone lies {nats:.2g} nats a prompt from its full weights (mean of "
        f"{len(prompts)}): smaller differences may be the quantisation's"
    )


@contextmanager
def stopping(note: str) -> Iterator[None]:
    """End the work on Ctrl-C with exit status `STOPPED` and a sentence that says what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"stopped; {note}")
        raise typer.Exit(STOPPED) from None


def write_json(path: Path | None, record: Any) -> None:
    """Write a command's result as JSON if a file was asked for."""
    if path is None:
        return
    try:
        path.write_text(json_text(record) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"the file must be writable; got {error.strerror} at {path}; name another with --json"
        ) from error
