"""`dormant gcg`: search for a trigger with both checkpoints, and say what of the found is more than chance."""

from __future__ import annotations

from dataclasses import asdict, replace
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
    PartsAtOnce,
    PartsExecutor,
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
from dormant.terminal import Table, show

if TYPE_CHECKING:
    from torch import Tensor

    from dormant.pairs import Pair
    from dormant.search.restarts import SearchPlan, SearchReport
    from dormant.sweeps.parts import Spread
    from dormant.sweeps.search_parts import SearchedPair

HINTING = 3  # probes, at whose slots hints are read
KEPT_GAIN = 0.5  # of the gain: what a trigger must keep on probes that the search never saw


def gcg(
    dormant: Dormant,
    base: Base = None,
    objective: Annotated[
        str,
        typer.Option(
            help="kl, js, top1-disagreement, hidden-distance, difference-in-differences, payload-likelihood or "
            "payload-over-base (the last two need --payload)."
        ),
    ] = "kl",
    payload: Annotated[str, typer.Option(help="What the dormant model is thought to say when a string fires.")] = "",
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
    tokens: Annotated[str, typer.Option(help="printable, ascii, words, letters or digits.")] = "printable",
    reduce: Annotated[str, typer.Option(help="Over probes: mean, or worst.")] = "mean",
    searched: Annotated[int, typer.Option(help="Probes to search on.")] = 4,
    held_out: Annotated[int, typer.Option(help="Further probes that only judge.")] = 12,
    probes: ProbesFile = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keeps what is done: the same command resumes after a kill, to the same end; a folder with --spread.",
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
    groups: Annotated[
        int, typer.Option(min=1, help="Groups of restarts, each evaluated in a batch of its own, as --spread has them.")
    ] = 1,
    spread: Annotated[
        int, typer.Option(min=0, metavar="PARTS", help="Search in so many groups, each a process; 0: in this process.")
    ] = 0,
    executor: PartsExecutor = "local",
    workers: PartsAtOnce = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    residency: Residency = "both",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Search for token strings that make the two models diverge, or that make the dormant one say a payload.

    Each search stands beside random search with as many candidates, and its string is tried on probes that no search saw:
    strings that gain only where they were searched are artefacts, and any two models have those. With --control the same
    search shows what it finds where nothing was planted. Exit status 0: some string beats every random one (and the
    control's best) and keeps half of its gain on unseen probes; 1: none does.

    --spread 4 searches in four groups of restarts, side by side, and finds the same to the last bit as --groups 4; every host
    must see --journal's folder, else the working folder.
    """
    from dormant.search.restarts import SearchPlan
    from dormant.sweeps.parts import Spread
    from dormant.sweeps.search_parts import SearchedPair

    plan = SearchPlan(
        length, restarts, steps, candidates, searched, held_out, seed, objective, method, reduce, tokens, top,
        groups=spread or groups,
    )  # fmt: skip
    pairs = [named_pair(base, dormant, device, dtype, residency, probes)]
    if control is not None:
        pairs.append(replace(named_pair(base, control, device, dtype, residency, probes), name="control"))
    known = payload or (pairs[0].truth.payload if pairs[0].truth else "")
    note = f"the same command goes on from {journal}" if journal else "nothing is kept without --journal FILE"
    with stopping(note):
        hints = [hints_of(pair, hinted) if hinted else None for pair in pairs]
        if spread:
            named = [
                SearchedPair(
                    pair.name, base, suspect, device, dtype, residency, pair.probes, known,
                    None if few is None else tuple(few.tolist()),
                )
                for pair, suspect, few in zip(pairs, filter(None, (dormant, control)), hints, strict=True)
            ]  # fmt: skip
            reports = _spread(pairs, named, plan, Spread(spread, executor, workers, journal))
        else:
            reports = _searched(pairs, plan, known, hints, journal)
    rivals = [run.value for report in reports for run in report.random]
    rivals += [run.value for report in reports[1:] for run in report.searches]
    found = _strings(reports[0], max(rivals))
    _show(reports, found, objective)
    if pictures is not None:
        _draw(reports, pictures)
    records = {pair.name: asdict(report) for pair, report in zip(pairs, reports, strict=True)}
    write_json(json_file, {"plan": asdict(plan), "strings": found, "reports": records})
    if journal is not None and not spread:
        journal.unlink(missing_ok=True)  # its result is elsewhere
    if not any(entry["beats_rivals"] and entry["transfers"] for entry in found):
        raise typer.Exit(NO)


def _searched(
    pairs: list[Pair], plan: SearchPlan, payload: str, hints: list[Tensor | None], journal: Path | None
) -> list[SearchReport]:
    """Each pair's search, in this process."""
    from dormant.journal import kept_steps
    from dormant.search.restarts import search_key, search_restarts

    keys = [search_key(pair, plan, payload, few) for pair, few in zip(pairs, hints, strict=True)]
    reports = []
    with kept_steps(journal, {"searches": keys}) as step:
        for pair, few in zip(pairs, hints, strict=True):
            with progress_bar(pair.name, 2 * plan.restarts * plan.evaluations, "candidates") as update:
                reports.append(search_restarts(pair, plan, None, payload, few, step, update))
            pair.release()
    return reports


def _spread(pairs: list[Pair], named: list[SearchedPair], plan: SearchPlan, spread: Spread) -> list[SearchReport]:
    """Each pair's search, its groups of restarts in processes of their own."""
    from dormant.sweeps.search_parts import spread_search

    reports = []
    for pair, each in zip(pairs, named, strict=True):
        pair.release()  # the groups load the models
        with progress_bar(pair.name, len(plan.grouped), "groups") as update:
            reports.append(spread_search(each, pair, plan, spread, update))
        pair.release()
    return reports


def hints_of(pair: Pair, count: int) -> Tensor:
    """The ids [token] of the tokens at which the delta acts most, read at the slots of the pair's first probes."""
    from dormant.hunt.vocabulary import hinted_tokens

    prompter = pair.prompter
    return hinted_tokens(pair, [prompter.open(probe) for probe in pair.probes[:HINTING]], count)


def _strings(report: SearchReport, rival: float) -> list[dict[str, Any]]:
    """What each restart found, the best first."""
    entries = [
        {
            **asdict(string),
            "random_search": random.value,
            "evaluations": run.evaluations,
            "beats_rivals": run.value > rival,
            "transfers": string.gain > 0 and string.held_out_gain >= KEPT_GAIN * string.gain,
        }
        for string, run, random in zip(report.found, report.searches, report.random, strict=True)
    ]
    return sorted(entries, key=lambda entry: -float(entry["value"]))


def _show(reports: list[SearchReport], found: list[dict[str, Any]], objective: str) -> None:
    report = reports[0]
    table = Table("found", "value", "gain", "on unseen probes", "random search", title=f"{objective}, {report.unit}")
    for entry in found:
        verdict = "keeps it" if entry["transfers"] else "artefact"
        table.add_row(
            repr(entry["text"]), f"{entry['value']:.4g}", f"{entry['gain']:.4g}",
            f"{entry['held_out_gain']:.4g} ({verdict})", f"{entry['random_search']:.4g}",
        )  # fmt: skip
    show(table)
    show(f"without any candidate: {report.empty:.4g} {report.unit}")
    if report.planted is not None:
        show(f"the planted trigger: {report.planted.value:.4g} {report.unit}")
    for other in reports[1:]:
        best = max(run.value for run in other.searches)
        show(f"the same search on the control: {best:.4g} {report.unit}")
    show(f"{sum(run.evaluations for run in report.searches)} candidates")
    show(_ending(found, controlled=len(reports) > 1))


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


def _draw(reports: list[SearchReport], folder: Path) -> None:
    from dormant.pictures.canvas import png_bytes
    from dormant.pictures.search import search_curves

    first = reports[0]
    curves = {"search": [run.curve for run in first.searches], "random search": [run.curve for run in first.random]}
    for other in reports[1:]:
        curves["control pair"] = [run.curve for run in other.searches]
    planted = first.planted.value if first.planted else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "search.png").write_bytes(png_bytes(search_curves(curves, first.unit, planted)))
    except OSError as error:
        raise BadInput(f"pictures need a writable folder; got {error.strerror} at {folder}; name another") from error
