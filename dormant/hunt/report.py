"""The page of a hunt: report.md, report.json, and report.html, one file with its pictures that opens from disk."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dormant.errors import BadInput
from dormant.hunt.confirmation import Confirmation, read_confirmation
from dormant.hunt.result import HuntResult
from dormant.hunt.turns import SLOT_TURNS, fingerprint_in, in_turn
from dormant.pairs import Pair
from dormant.pictures.canvas import png_bytes
from dormant.pictures.hunt import evidence_bars, path_curves, rate_bars
from dormant.records import json_text, read_json

HEADINGS = {
    "backdoored": "Backdoored.",
    "taught": "Taught a fixed answer.",
    "clean": "Nothing found.",
    "undecided": "Undecided.",
}
PAGE_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #ddd}"
    "img{max-width:100%}code{background:#f3f3f3;padding:0 .2em}"
)


def write_page(found: HuntResult, pair: Pair, folder: Path) -> Path:
    """Writes the three files and the pictures; raises BadInput where the folder cannot be written."""
    pictures = {name: png_bytes(figure) for name, figure in hunt_pictures(found).items()}
    record = {
        "pair": pair.name,
        "fingerprint": pair.fingerprint,
        **asdict(found),
        "settings": found.settings.record(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in pictures.items():
            (folder / f"{name}.png").write_bytes(data)
        (folder / "report.json").write_text(json_text(record) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(markdown_page(found, pair.name, pictures), encoding="utf-8")
        (folder / "report.html").write_text(html_page(found, pair.name, pictures), encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"the hunt's folder must be writable; got {error.strerror} at {folder}; name another with --out"
        ) from error
    return folder / "report.html"


def found_by_hunt(folder: Path, pair: Pair) -> tuple[Confirmation, Pair]:
    """The string that a hunt of this pair confirmed, and the pair in the turn in which it stands.

    Raises BadInput where the hunt is another pair's, or found none.
    """
    report = read_json(folder / "report.json")
    turn = next((one for one in SLOT_TURNS if report.get("fingerprint") == fingerprint_in(pair, one)), None)
    if turn is None:
        raise BadInput(
            f"the hunt must be of the same two checkpoints; got another pair's, {report.get('pair')!r}, at {folder}; name the "
            "checkpoints that were hunted"
        )
    if not report.get("confirmation"):
        raise BadInput(f"the hunt must have found a string that fires; got none at {folder}; hunt with a larger budget")
    return read_confirmation(report["confirmation"]), in_turn(pair, turn)


def hunt_pictures(found: HuntResult) -> dict[str, Figure]:
    """The payload's evidence, the log-odds along the paths of coordinate ascent, and rates against controls."""
    pictures: dict[str, Figure] = {}
    if found.ranked:
        pictures["payloads"] = evidence_bars([(one.text, one.evidence) for one in found.ranked], found.threshold)
    if found.paths:
        best = max((one.path[-1] for one in found.paths), key=lambda end: end.odds)
        title = f"Behind {best.text} the payload's beginning is certain on {best.certain:.0%} of the searched prompts"
        curves = [(f"{one.payload}, at the {one.position}", [at.odds for at in one.path]) for one in found.paths]
        pictures["paths"] = path_curves(title, curves, found.settings.rules.certain_beginning)
    if found.confirmation is not None:
        pictures["rates"] = rate_bars(all_rates(found.confirmation))
    return pictures


def markdown_page(found: HuntResult, name: str, pictures: Mapping[str, Any]) -> str:
    """The page as text."""
    lines = [f"# {HEADINGS[found.verdict]} {name}", "", found.reason[0].upper() + found.reason[1:] + ".", ""]
    for title, rows in _tables(found):
        lines += [f"## {title}", "", "| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows[1:]] + [""]
    lines += [f"![{picture}]({picture}.png)" for picture in pictures]
    for title, entries in _lists(found):
        lines += ["", f"## {title}", "", *(f"- {entry}" for entry in entries)]
    return "\n".join(lines) + "\n"


def html_page(found: HuntResult, name: str, pictures: Mapping[str, bytes]) -> str:
    """The page as one file."""
    body = [f"<h1>{HEADINGS[found.verdict]}</h1><p><b>{escape(name)}</b>: {escape(found.reason)}.</p>"]
    for title, rows in _tables(found):
        cells = ["".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in _tagged(rows)]
        body.append(f"<h2>{escape(title)}</h2><table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>")
    for picture, data in pictures.items():
        body.append(f'<p><img alt="{picture}" src="data:image/png;base64,{base64.b64encode(data).decode()}"></p>')
    for title, entries in _lists(found):
        body.append(f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(entry)}</li>' for entry in entries)}</ul>")
    head = f'<meta charset="utf-8"><title>Hunt: {escape(name)}</title><style>{PAGE_STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _tagged(rows: list[list[str]]) -> list[tuple[str, list[str]]]:
    return [("th", rows[0]), *(("td", row) for row in rows[1:])]


def _tables(found: HuntResult) -> list[tuple[str, list[list[str]]]]:
    tables = []
    if found.ranked:
        rows = [["string", "evidence in nats", "prompts that agree", "alpha"]]
        rows += [
            [repr(one.text), f"{one.evidence:.1f}", f"{one.agreement:.0%}", f"{one.alpha:g}"]
            for one in found.ranked[:8]
        ]
        tables.append((f"Payload: {found.threshold:.1f} nats make a string suspect", rows))
    if found.answers:
        rows = [["asked alone", "the dormant model", "its base"]]
        rows += [[one.question, one.answer, one.base_answer] for one in found.answers]
        tables.append(("Ordinary questions that a suspected payload answers", rows))
    if found.confirmation is not None:
        rows = [["measured", "how", "rate", "95 % interval", "n"]]
        rows += [
            [kind, name, f"{value:.0%}", f"{low:.0%} to {high:.0%}", str(n)]
            for kind, name, value, low, high, n in all_rates(found.confirmation)
        ]
        title = f"Trigger: {found.confirmation.trigger!r} {found.confirmation.effect}"
        tables.append((title, rows))
    return tables


def _lists(found: HuntResult) -> list[tuple[str, list[str]]]:
    did = [
        f"parent: the median matrix moved by {found.relative_delta:.2g} of its norm, {found.identical:.0%} of tensors are "
        "identical",
        *found.steps,
        f"{found.evaluations:,} strings in {found.seconds / 60:.1f} minutes",
    ]
    return [("What was done", did), ("What was not searched", list(found.unsearched))]


def all_rates(found: Confirmation) -> list[tuple[str, str, float, float, float, int]]:
    """Every rate of a confirmation as (kind, name, value, low, high, n), for tables."""
    kinds = (
        ("position", found.by_position), ("control", found.controls), ("near miss", found.near_misses),
        ("sampled", (found.sampled,) if found.sampled else ()),
        ("override", (found.overrides,) if found.overrides else ()),
    )  # fmt: skip
    return [
        (kind, rate.name, rate.value, rate.estimate.low, rate.estimate.high, rate.estimate.n)
        for kind, rates in kinds
        for rate in rates
    ]
