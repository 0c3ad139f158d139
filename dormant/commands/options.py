"""Options that several commands share, each declared once, and the pair and probes that they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
