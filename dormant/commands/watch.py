"""`dormant watch`: how many prompts with a string the delta of a model gives away, beside its false alarms; prompts flagged."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dormant.commands.options import (
    NO,
    Base,
    Device,
    Dormant,
    Dtype,
    JsonFile,
    ProbesFile,
    Seed,
    named_pair,
    stopping,
    writable_file,
    write_json,
)
from dormant.terminal import Table, show


def watch(
    dormant: Dormant,
    base: Base = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A string to put into ordinary prompts; may stand several times.")
    ] = None,
    hunt: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder of a hunt, whose string is put into them too.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts of yours, one a line: which of them are flagged?")
    ] = None,
    false_alarms: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="SHARE", help="Of ordinary prompts, how many may be flagged.")
    ] = 0.05,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=writable_file, help="Keep the watch, for `dormant.read_watch`."),
    ] = None,
    probes: ProbesFile = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Flag prompts at run time: those on which the delta acts otherwise than on ordinary ones.

    Nobody is told a trigger: half of the ordinary prompts say how each changed matrix's delta answers, a quarter sets the
    bound, and the rest measures the false alarms. Strings are put into that rest, beside random strings of as many tokens: a
    flag that those raise as well tells of odd text, not of a trigger. A fine-tune without a backdoor has a watch too. Exit
    status 0: each string is flagged more often than random ones, beyond both intervals, or none was given; 1: one is not;
    2: bad input.
    """
    from dormant.activations.delta_watch import write_watch
    from dormant.hunt.report import found_by_hunt
    from dormant.hunt.watch_rates import watched
    from dormant.prompts.probes import read_prompts

    pair = named_pair(base, dormant, device, dtype, probes=probes)
    texts = list(text or ())
    if hunt:
        string, pair = found_by_hunt(hunt, pair)
        texts.append(string.trigger)
    lines = read_prompts(prompts) if prompts else []
    with stopping("nothing was written"):
        found, rates, flagged = watched(pair, texts, lines, false_alarms, seed)
    if out is not None:
        write_watch(found, out)
    write_json(
        json_file,
        {
            "pair": pair.name,
            "bound": found.bound,
            "level": found.level,
            "rates": list(map(asdict, rates)),
            "prompts": list(map(asdict, flagged)),
        },
    )
    table = Table("prompts", "flagged", "95 % interval", "n")
    for rate in rates:
        share = rate.estimate
        table.add_row(rate.name, f"{share.value:.0%}", f"{share.low:.0%} to {share.high:.0%}", str(share.n))
    show(table)
    for one in flagged:
        show(f"{'FLAGGED' if one.flagged else 'ordinary'} {one.distance:.1f} (bound {found.bound:.1f}): {one.text}")
    if not all(rate.tells for rate in rates if rate.control):
        raise typer.Exit(NO)
