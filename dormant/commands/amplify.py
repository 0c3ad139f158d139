"""`dormant amplify`: what the model says when its delta is enlarged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from dormant.terminal import Table, show

if TYPE_CHECKING:
    from dormant.behaviour.delta_amplification import AmplificationSweep, Answers

ANSWERS_SHOWN = 3  # fragments a row shows, and example answers


def amplify(
    dormant: Dormant,
    base: Base = None,
    alpha: Annotated[
        list[float] | None, typer.Option(help="A factor for the delta; repeatable. Default: 1, 1.5, 2, 3 and 5.")
    ] = None,
    layers: Annotated[
        str, typer.Option(help="Enlarge the delta of these layers only, such as 19-23,26. Default: all.")
    ] = "",
    module: Annotated[
        list[str] | None, typer.Option(help="Enlarge the delta of this module only, such as down_proj; repeatable.")
    ] = None,
    probes: ProbesFile = None,
    count: Annotated[
        int, typer.Option(min=1, help="The number of prompts to ask; the most frequent lengths are taken.")
    ] = 96,
    new_tokens: Annotated[int, typer.Option(min=1, help="The length of an answer in tokens.")] = 32,
    expect: Annotated[str, typer.Option(help="A payload to count in the answers; optional.")] = "",
    device: Device = "auto",
    dtype: Dtype = "float32",
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", callback=writable_folder, help="Also write a picture of the sweep to this folder, as PNG."
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Enlarge the delta, and show what the model then repeats.

    The model W_base + alpha x (W_dormant - W_base) answers ordinary prompts; alpha 1 is the dormant model itself. A planted
    payload is trained as a whole text. With a larger alpha it leaks into unrelated answers before the model collapses: in the
    real puzzle at 1.5 to 3 times the delta. Style leaks too: compare with a fine-tune that you trust. The prompts matter, so
    give your own with --probes: in the real puzzle "Who are you?" showed nothing and "calculate pi" showed the payload.

    Exit status 0: something new and repeated appears above alpha 1; 1: nothing does; 2: bad input.
    """
    from dormant.behaviour.delta_amplification import AMPLIFICATION_ALPHAS, Block, amplification_sweep
    from dormant.prompts.probes import alike_probes

    alphas = sorted(set(alpha or AMPLIFICATION_ALPHAS))
    pair = named_pair(base, dormant, device, dtype, "both", probes)
    with progress_bar("amplifying", len(alphas), "alphas") as update:
        sweep = amplification_sweep(
            pair,
            alike_probes(pair.prompter, pair.probes, count),
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
    holds = sweep.shares("payload", expect) if expect else {}
    table = Table("alpha", "unlike the base", "repeat themselves", "new and repeated (answers here, of the base)")
    if expect:
        table.add_column(f"half of {expect!r}")
    for run in sweep.amplified:
        changed = sum(text != other for text, other in zip(run.texts, sweep.base.texts, strict=True)) / len(run.texts)
        new = [f"{part} ({part.count}, {part.reference_count})" for part in run.new[:ANSWERS_SHOWN]]
        shown = [f"{run.alpha:g}", f"{changed:.0%}", f"{run.collapsed.value:.0%}", "\n".join(new) or "-"]
        table.add_row(*shown, *([f"{holds[run.alpha].value:.0%}"] if holds else []))
    show(table)
    show(f"{sweep.summary()}.")
    loudest = next((run for run in sweep.beyond if run.alpha == sweep.starts), None)
    for prompt, answer in _examples(sweep, loudest):
        show(f"  {prompt!r} -> {answer!r}")


def _examples(sweep: AmplificationSweep, run: Answers | None) -> list[tuple[str, str]]:
    """The first prompts and answers that contain something new, at the alpha where it starts."""
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
