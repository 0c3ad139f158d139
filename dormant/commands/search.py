"""`dormant gcg`: search for a trigger with both checkpoints, and say what of the found is more than chance."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

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
    stopping,
    writable_folder,
    write_json,
)
from dormant.errors import BadInput
from dormant.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from dormant.journal import Journal
    from dormant.pairs import Pair
    from dormant.search.campaign import Campaign, Plan
    from dormant.search.course import Progress

HINTING = 3  # probes, at whose slots hints are read
KEPT = 0.5  # of the gain: what a trigger must keep on probes that the search never saw


def gcg(
    base: Base,
    dormant: Dormant,
    objective: Annotated[
        str,
        typer.Option(
            help="kl, js, top1-disagreement, hidden-distance, difference-in-differences, payload-likelihood or "
            "payload-over-base (the last two need --payload)."
        ),
    ] = "kl",
    payload: Annotated[str, typer.Option(help="What the dormant model is thought to say once it wakes.")] = "",
    control: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="A clean fine-tune of the same base: the same search runs on it too."),
    ] = None,
    method: Annotated[str, typer.Option(help="gcg, or hill-climb: the same moves without a gradient.")] = "gcg",
    length: Annotated[int, typer.Option(help="Tokens of a candidate.")] = 5,
    hinted: Annotated[
        int,
        typer.Option(
            min=0, help="Search among so many tokens alone, those at which the delta acts most, say 32 (0: all)."
        ),
    ] = 0,
    restarts: Annotated[int, typer.Option(help="Searches from different starts.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps of each search.")] = 100,
    candidates: Annotated[int, typer.Option(help="Candidates a step.")] = 64,
    top: Annotated[int, typer.Option(help="Tokens a place that the gradient proposes.")] = 128,
    swaps: Annotated[int, typer.Option(help="The most tokens that one change replaces.")] = 1,
    resize: Annotated[float, typer.Option(help="Share of changes that insert or delete a token.")] = 0.0,
    buffer: Annotated[int, typer.Option(help="How many of the best take turns.")] = 1,
    patience: Annotated[int, typer.Option(help="Stop after so many steps without gain (0: never).")] = 0,
    evaluations: Annotated[int, typer.Option(help="Stop each search after so many candidates (0: never).")] = 0,
    seconds: Annotated[float, typer.Option(help="Stop each search after so many seconds (0: never).")] = 0.0,
    tokens: Annotated[str, typer.Option(help="printable, ascii, words, letters or digits.")] = "printable",
    reduce: Annotated[str, typer.Option(help="Over probes: mean, or worst.")] = "mean",
    searched: Annotated[int, typer.Option(help="Probes to search on.")] = 4,
    held_out: Annotated[int, typer.Option(help="Further probes that only judge.")] = 12,
    probes: ProbesFile = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keeps what is done: the same command resumes after a kill, to the same end."
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=writable_folder,
            help="Also draw the searches beside chance and control, as PNG there.",
        ),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    residency: Residency = "both",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Search for token strings that part the two models, or that make the dormant one say a payload.

    Each search stands beside random search with as many candidates, and its string is tried on probes that no search saw:
    strings that gain only where they were searched are artefacts, and any two models have those. With --control the same
    search shows what it finds where nothing was planted. Exit status 0: some string beats every random one (and the
    control's best) and keeps half of its gain on unseen probes; 1: none does.
    """
    from dormant.journal import Journal
    from dormant.search.campaign import Plan, run_campaign

    plan = Plan(
        length, restarts, steps, candidates, searched, held_out, seed, objective, method, reduce, tokens, top, swaps,
        resize, buffer, patience, evaluations, seconds,
    )  # fmt: skip
    pairs = [named_pair(base, dormant, device, dtype, residency, probes)]
    if control is not None:
        pairs.append(replace(named_pair(base, control, device, dtype, residency, probes), name="control"))
    kept = None
    if journal is not None:
        among = {"hinted": hinted} if hinted else {}
        kept = Journal(
            journal, {**asdict(plan), **among, "payload": payload, "pairs": [pair.fingerprint for pair in pairs]}
        )
    known = payload or (pairs[0].truth.payload if pairs[0].truth else "")
    note = f"the same command goes on from {journal}" if journal else "nothing is kept without --journal FILE"
    with stopping(note), closing(kept) if kept is not None else nullcontext():
        hints = [hints_of(pair, hinted) if hinted else None for pair in pairs]
        campaigns = [_run(run_campaign, pair, plan, kept, known, few) for pair, few in zip(pairs, hints, strict=True)]
    rivals = [run.value for campaign in campaigns for run in campaign.random]
    rivals += [run.value for campaign in campaigns[1:] for run in campaign.gcg]
    found = _strings(campaigns[0], max(rivals))
    _show(campaigns, found, objective)
    if pictures is not None:
        _draw(campaigns, pictures)
    records = {pair.name: _record(campaign) for pair, campaign in zip(pairs, campaigns, strict=True)}
    write_json(json_file, {"plan": asdict(plan), "strings": found, "campaigns": records})
    if kept is not None:
        kept.finish()
    if not any(entry["beats_rivals"] and entry["transfers"] for entry in found):
        raise typer.Exit(NO)


def hints_of(pair: Pair, count: int) -> Tensor:
    """The ids [token] of the tokens at which the delta acts most, read at the slots of the pair's first probes."""
    from dormant.hunt.vocabulary import hinted_tokens
    from dormant.prompts.probes import Prompter

    prompter = Prompter(pair.base.tokenizer)
    return hinted_tokens(pair, [prompter.open(probe) for probe in pair.probes[:HINTING]], count)


def _run(
    run_campaign: Any, pair: Pair, plan: Plan, journal: Journal | None, payload: str, hints: Tensor | None
) -> Campaign:
    each = plan.evaluations or plan.candidates * (plan.steps + 1)
    done: dict[tuple[int, str], int] = {}
    with progress_bar(pair.name, 2 * plan.restarts * each, "candidates") as update:

        def watch(restart: int, name: str, progress: Progress) -> None:
            done[restart, name] = progress.evaluations
            update(
                sum(done.values()),
                2 * plan.restarts * each,
                f"restart {restart + 1}, {name}: best so far {progress.value:.4g}",
            )

        campaign: Campaign = run_campaign(pair, plan, watch, journal, payload, hints)
    pair.release()
    return campaign


def _strings(campaign: Campaign, rival: float) -> list[dict[str, Any]]:
    """What each restart found, the best first."""
    entries = [
        {
            "text": text, "ids": list(run.best), "value": run.value, "gain": gain, "held_out_gain": held_out,
            "random_search": chance.value, "evaluations": run.evaluations, "seconds": run.seconds,
            "stopped": run.stopped, "beats_rivals": run.value > rival,
            "transfers": gain > 0 and held_out >= KEPT * gain,
        }
        for text, run, chance, gain, held_out in zip(
            campaign.texts, campaign.gcg, campaign.random, campaign.gains, campaign.held_out_gains, strict=True
        )
    ]  # fmt: skip
    return sorted(entries, key=lambda entry: -float(entry["value"]))


def _show(campaigns: list[Campaign], found: list[dict[str, Any]], objective: str) -> None:
    campaign, console = campaigns[0], Console()
    table = Table("found", "value", "gain", "on unseen probes", "random search", title=f"{objective}, {campaign.unit}")
    for entry in found:
        verdict = "keeps it" if entry["transfers"] else "artefact"
        table.add_row(
            repr(entry["text"]), f"{entry['value']:.4g}", f"{entry['gain']:.4g}",
            f"{entry['held_out_gain']:.4g} ({verdict})", f"{entry['random_search']:.4g}",
        )  # fmt: skip
    console.print(table)
    console.print(f"without any candidate: {campaign.empty:.4g} {campaign.unit}")
    if campaign.planted is not None:
        console.print(f"the planted trigger: {campaign.planted:.4g} {campaign.unit}")
    for other in campaigns[1:]:
        console.print(f"the same search on the control: {max(run.value for run in other.gcg):.4g} {campaign.unit}")
    count, seconds = (sum(getattr(run, name) for run in campaign.gcg) for name in ("evaluations", "seconds"))
    console.print(f"{count} candidates at {count / max(seconds, 1e-9):.3g}/s", highlight=False)
    console.print(_ending(found, controlled=len(campaigns) > 1), highlight=False)


def _ending(found: list[dict[str, Any]], controlled: bool) -> str:
    """What all strings together come to, and why it may be nothing."""
    if all(entry["gain"] == 0 for entry in found):
        return "Nothing found: no string changes the objective at all, so that as far as it reads both models are the same."
    if not any(entry["gain"] > 0 for entry in found):
        return "Nothing found: no string gains over the probes without any candidate."
    ahead = [entry for entry in found if entry["beats_rivals"]]
    rivals = "every random one" + (" and all that the control gave" if controlled else "")
    if not ahead:
        return f"Nothing found: no string beats {rivals}."
    kept = [entry for entry in ahead if entry["transfers"]]
    alike = len({entry["text"] for entry in kept})
    return (
        f"{len(ahead)} of {len(found)} strings beat {rivals}; {len(kept)} of these ({alike} different) keep half of their gain "
        f"on unseen probes, {len(ahead) - len(kept)} are artefacts of the probes searched."
    )


def _draw(campaigns: list[Campaign], folder: Path) -> None:
    from dormant.pictures.canvas import png_bytes
    from dormant.pictures.search import search_curves

    first = campaigns[0]
    curves = {"search": [run.trace for run in first.gcg], "random search": [run.trace for run in first.random]}
    for other in campaigns[1:]:
        curves["control pair"] = [run.trace for run in other.gcg]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "search.png").write_bytes(png_bytes(search_curves(curves, first.unit, first.planted)))
    except OSError as error:
        raise BadInput(f"pictures need a writable folder; got {error.strerror} at {folder}; name another") from error


def _record(campaign: Campaign) -> dict[str, Any]:
    return {
        "unit": campaign.unit,
        "empty": campaign.empty,
        "planted": campaign.planted,
        "searches": [vars(run) for run in campaign.gcg],
        "random_searches": [vars(run) for run in campaign.random],
    }
