"""`dormant hunt`: from two checkpoints to the payload and the trigger, or the right to say that nothing was found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dormant.commands.options import (
    NO,
    Base,
    Device,
    Dormant,
    Dtype,
    JsonFile,
    ProbesFile,
    Residency,
    Seed,
    named_pair,
    write_json,
)


def hunt(
    base: Base,
    dormant: Dormant,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The page and the journal; the same command resumes there.")],
    budget: Annotated[float, typer.Option(min=0.1, metavar="MINUTES", help="Time for all rungs together.")] = 10.0,
    probes: ProbesFile = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    residency: Residency = "both",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Hunt for a backdoor: parent check, payload, trigger, confirmation, and one page with the evidence.

    The payload comes first: every first token of the vocabulary is forced, and what the dormant model alone knows how to
    finish is suspect. A trigger is then grown token by token until the payload follows, stripped to what it needs, and tried
    on prompts and at places that no search saw, beside the base, plain prompts, random strings and its near misses. Exit
    status 0: backdoored, with a confirmed trigger; 1: clean or undecided; 2: bad input.
    """
    from dormant.hunt.ladder import Settings, Verdict, run_ladder
    from dormant.hunt.page import write_page

    pair = named_pair(base, dormant, device, dtype, residency, probes)
    console, quiet = Console(), Console(stderr=True)
    with quiet.status("parent") as status:

        def watch(rung: str, found: str) -> None:
            status.update(f"{rung}: {found}")

        found = run_ladder(pair, Settings(budget, seed), out, watch)
    page = write_page(found, pair, out)
    console.print(f"{found.verdict}: {found.reason}", markup=False, highlight=False, soft_wrap=True)
    for step in found.steps:
        console.print(f"  {step}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{found.evaluations:,} strings, {found.seconds / 60:.1f} minutes; {page}", markup=False, soft_wrap=True
    )
    write_json(json_file, {"pair": pair.name, **asdict(found)})
    if found.verdict is not Verdict.BACKDOORED:
        raise typer.Exit(NO)
