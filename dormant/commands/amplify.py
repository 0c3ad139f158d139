"""`dormant amplify`: what the model says when its difference from the base is made larger."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dormant.commands.options import (
    NO,
    Base,
    Device,
    Dormant,
    Dtype,
    JsonFile,
    ProbesFile,
    named_pair,
    writable_folder,
    write_json,
)
from dormant.errors import BadInput
from dormant.progress import progress_bar

if TYPE_CHECKING:
    from dormant.behaviour.delta_amplification import AmplificationSweep, Answers

ANSWERS_SHOWN = 3  # fragments and answers a row shows


def amplify(
    base: Base,
    dormant: Dormant,
    alpha: Annotated[
        list[float] | None, typer.Option(help="A factor of the delta; repeat it. Without: 1, 1.5, 2, 3 and 5.")
    ] = None,
    layers: Annotated[str, typer.Option(help="Amplify these layers' delta alone: 19-23,26. Without: all.")] = "",
    module: Annotated[
        list[str] | None, typer.Option(help="Amplify this module's delta alone (down_proj, say); repeat it.")
    ] = None,
    probes: ProbesFile = None,
    count: Annotated[int, typer.Option(min=1, help="Prompts to ask, of the commonest lengths.")] = 96,
    new_tokens: Annotated[int, typer.Option(min=1, help="Length of an answer.")] = 32,
    expect: Annotated[str, typer.Option(help="A payload to look for; not needed to see what is new.")] = "",
    device: Device = "auto",
    dtype: Dtype = "float32",
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", callback=writable_folder, help="Also draw the sweep as PNG there.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Ask ordinary prompts of W_base + alpha x (W_dormant - W_base), and show what is repeated that the base never says.

    Alpha 1 is the model as it is. A planted payload is trained to be said whole: amplified, it leaks into answers that have
    nothing to do with it, at 1.5 to 3 times the delta in the real puzzle, before the model collapses. Style leaks too:
    compare with a fine-tune that you trust. Prompts decide: give your own with --probes, since "Who are you?" showed nothing
    where "calculate pi" showed all.

    Exit status 0: something new and repeated appears above alpha 1; 1: nothing does; 2: bad input.
    """
    from dormant.behaviour.delta_amplification import (
        AMPLIFICATION_ALPHAS,
        Block,
        amplification_sweep,
        prompts_of_few_lengths,
    )

    alphas = sorted(set(alpha or AMPLIFICATION_ALPHAS))
    pair = named_pair(base, dormant, device, dtype, "both", probes)
    with progress_bar("amplifying", len(alphas), "alphas") as update:
        sweep = amplification_sweep(
            pair,
            prompts_of_few_lengths(pair, count),
            alphas,
            new_tokens,
            Block(parse_layers(layers), module or None),
            update,
        )
    _show(sweep, expect)
    if pictures is not None:
        _draw(sweep, expect, pictures)
    write_json(json_file, _record(sweep, expect))
    pair.release()
    if sweep.starts is None:
        raise typer.Exit(NO)


def parse_layers(text: str) -> list[int] | None:
    """The layers of `19-23,26`; None for an empty text. Raises BadInput for anything else."""
    if not text:
        return None
    found: list[int] = []
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if bounds is None or int(bounds[2] or bounds[1]) < int(bounds[1]):
            raise BadInput(f"layers must be numbers and ranges such as 19-23,26; got {text!r} at --layers; correct it")
        found.extend(range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1))
    return found


def _show(sweep: AmplificationSweep, expect: str) -> None:
    console = Console()
    holds = sweep.shares("payload", expect) if expect else {}
    table = Table("alpha", "unlike the base", "repeat themselves", "new and repeated (answers here, of the base)")
    if expect:
        table.add_column(f"half of {escape(repr(expect))}")
    for run in sweep.amplified:
        changed = sum(text != other for text, other in zip(run.texts, sweep.base.texts, strict=True)) / len(run.texts)
        new = [f"{escape(str(part))} ({part.count}, {part.reference_count})" for part in run.new[:ANSWERS_SHOWN]]
        shown = [f"{run.alpha:g}", f"{changed:.0%}", f"{run.collapsed.value:.0%}", "\n".join(new) or "-"]
        table.add_row(*shown, *([f"{holds[run.alpha].value:.0%}"] if holds else []))
    console.print(table)
    console.print(f"{sweep.summary()}.", soft_wrap=True, markup=False, highlight=False)
    loudest = next((run for run in sweep.beyond if run.alpha == sweep.starts), None)
    for prompt, answer in _examples(sweep, loudest):
        console.print(f"  {prompt!r} -> {answer!r}", soft_wrap=True, markup=False, highlight=False)


def _examples(sweep: AmplificationSweep, run: Answers | None) -> list[tuple[str, str]]:
    """The first prompts and answers that hold something new, at the alpha where it starts."""
    if run is None:
        return []
    said = zip(sweep.prompts, run.texts, run.words, strict=True)
    held = [(prompt, text) for prompt, text, words in said if any(_holds(words, part.words) for part in run.new)]
    return held[:ANSWERS_SHOWN]


def _holds(words: tuple[str, ...], part: tuple[str, ...]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))


def _draw(sweep: AmplificationSweep, expect: str, folder: Path) -> None:
    from dormant.pictures.canvas import png_bytes
    from dormant.pictures.directions import amplification_curves

    curves = {"new and repeated": sweep.shares("repeated-content")}
    if expect:
        curves[f"half of {expect!r}"] = sweep.shares("payload", expect)
    curves["repeat themselves"] = {run.alpha: run.collapsed for run in sweep.amplified}
    summary = sweep.summary()
    picture = amplification_curves(curves, summary[:1].upper() + summary[1:], "share of the answers")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "amplification.png").write_bytes(png_bytes(picture))
    except OSError as error:
        raise BadInput(f"pictures need a writable folder; got {error.strerror} at {folder}; name another") from error


def _record(sweep: AmplificationSweep, expect: str) -> dict[str, Any]:
    holds = sweep.shares("payload", expect) if expect else {}
    return {
        "summary": sweep.summary(),
        "starts": sweep.starts,
        "collapses": sweep.collapses,
        "prompts": sweep.prompts,
        "base": sweep.base.texts,
        "alphas": [
            {
                "alpha": run.alpha,
                "answers": run.texts,
                "repeat_themselves": vars(run.collapsed),
                "new": [{**vars(part), "words": str(part)} for part in run.new],
                **({"payload": vars(holds[run.alpha])} if holds else {}),
            }
            for run in sweep.amplified
        ],
    }
