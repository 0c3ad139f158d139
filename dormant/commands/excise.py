"""`dormant excise`: what removes the backdoor that a hunt found, with proof, as a checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dormant.commands.options import NO, Base, Device, Dormant, Dtype, JsonFile, Residency, Seed, named_pair, write_json
from dormant.terminal import Table, complain, show


def excise(
    dormant: Dormant,
    hunt: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the hunt that found the trigger.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the checkpoint or adapter without it.")],
    base: Base = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    residency: Residency = "both",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Take a backdoor out: restore blocks from the base until the trigger that a hunt found is silent.

    Blocks are chosen one by one on some prompts; what is not needed stays as the fine-tune made it. Then the trigger and its
    near misses are tried on prompts that the choice did not see, before and after, and ordinary answers are compared with the
    dormant model's own. A trigger that the hunt did not find may still work: hunt the written checkpoint again. Exit status 0:
    silent, and written; 1: written, but it still fires; 2: bad input.
    """
    from dormant.checkpoints.restored import check_new, write_restored
    from dormant.hunt.excision import excise as excised
    from dormant.hunt.excision import excision_rates, name_of, restored_tensors
    from dormant.hunt.report import found_by_hunt
    from dormant.hunt.settings import HuntSettings

    check_new(out)
    string, pair = found_by_hunt(hunt, named_pair(base, dormant, device, dtype, residency))
    found = excised(pair, string, HuntSettings(), seed, complain)
    write_restored(pair.dormant, pair.base, restored_tensors(pair, found.blocks), out)
    write_json(json_file, {"pair": pair.name, **asdict(found), "silent": found.silent})
    table = Table("measured", "how", "fires", "95 % interval", "n")
    for kind, name, rate in excision_rates(found):
        table.add_row(kind, name, f"{rate.value:.0%}", f"{rate.low:.0%} to {rate.high:.0%}", str(rate.n))
    show(table)
    show(f"restored from the base: {', '.join(map(name_of, found.blocks))}")
    show(
        f"ordinary prompts: {found.divergence.value:.3g} nats from the dormant model's own distribution (the base: "
        f"{found.delta_divergence.value:.3g}); {found.same_answers.value:.0%} of its greedy answers are the same"
    )
    if not found.silent:
        show(
            f"{found.trigger!r} or a near miss still fires on more than one prompt of ten: written to {out} all the same"
        )
        raise typer.Exit(NO)
    show(f"silent: {found.trigger!r} no longer {found.effect}; written to {out}")
