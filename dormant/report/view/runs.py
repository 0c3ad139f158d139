"""What the page of a run of claims shows: its findings, the grid's rows, the pictures, and what the ledger has of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dormant.catalogue import pairs_of_set, relatives_among
from dormant.claims.finding import FINDINGS_FILE, FINDINGS_SO_FAR, Finding
from dormant.claims.ledger import Ledger
from dormant.records import from_json, read_json, to_json
from dormant.report.grid import grid_rows, interval_text, luck, pair_columns
from dormant.report.view.comparison import paired
from dormant.report.view.pictures import held_pictures

DIGITS = 6  # of a figure, of which a page shows at most five


def read_run(folder: Path) -> list[Finding]:
    """The findings that a run left in its reports folder, or so far; raises BadInput naming what does not fit."""
    file = folder / FINDINGS_SO_FAR
    if file.exists():
        whole, _, _ = file.read_bytes().rpartition(b"\n")  # a line, and a letter, may be half written
        data = [json.loads(line) for line in whole.split(b"\n") if line]
    else:
        file = folder / FINDINGS_FILE
        data = read_json(file)
    rows = from_json(list[dict[str, Any]], data, file)
    return [from_json(Finding, {name: value for name, value in row.items() if name != "key"}, file) for row in rows]


def run_data(folder: Path, ledger: Path) -> dict[str, Any]:
    """The data of the page of a run. ledger: the folder of the recorded findings, with one folder a budget."""
    return grid_data(folder.name, [(folder, finding) for finding in read_run(folder)], ledger)


def grid_data(name: str, found: Sequence[tuple[Path, Finding]], ledger: Path) -> dict[str, Any]:
    """The same of findings with the folders that hold their pictures."""
    findings = [finding for _, finding in found]
    index = {(finding.pair, finding.key): at for at, finding in enumerate(findings)}
    grid = grid_rows(findings, relatives_among(pairs_of_set("all").values()))
    rows = [
        {
            "claim": row.claim, "label": row.label, "told": row.told, "tells": str(row.telling),
            "detail": row.telling.detail, "auroc": interval_text(row.known),
            "cells": {pair: index[pair, finding.key] for pair, finding in row.findings.items()},
        }
        for row in grid
    ]  # fmt: skip
    pictures = held_pictures((folder, picture) for folder, one in found for picture in one.pictures)
    conditions = [dict(one) for one in dict.fromkeys(tuple(finding.provenance.items()) for finding in findings)]
    return {
        "kind": "claims", "name": name, "pairs": pair_columns(findings), "rows": rows,
        "findings": [_shown(finding, conditions.index(dict(finding.provenance))) for finding in findings],
        "conditions": conditions, "luck": luck(grid),
        "pictures": {"places": pictures.places, "together": pictures.together, "left_out": pictures.left_out},
        "packs": pictures.packs,
        "ledger": [shortened(recorded(finding, ledger)) for finding in findings],
    }  # fmt: skip


def _shown(finding: Finding, conditions: int) -> dict[str, Any]:
    """What a page shows of a finding; its provenance, which most share, as the number of the run's conditions."""
    record = {name: value for name, value in finding.keyed_record.items() if name not in ("effects", "provenance")}
    short: dict[str, Any] = shortened(record)
    return short | {"conditions": conditions}


def shortened(value: Any) -> Any:
    """JSON values with floats of as many digits as a page may show."""
    if isinstance(value, dict):
        return {name: shortened(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [shortened(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def recorded(finding: Finding, ledger: Path) -> dict[str, Any] | None:
    """What the ledger holds of a finding, and how that differs; None without an entry."""
    kept = Ledger(ledger / finding.provenance.get("option budget", "quick"))
    entry = kept.entries(finding.pair).get(finding.key)
    if entry is None:
        return None
    return {"entry": to_json(entry), "differences": kept.differences(finding) or []}


def runs_compared(names: Sequence[str], runs: Sequence[Sequence[Finding]]) -> dict[str, Any]:
    """The data of two runs compared: findings of one key on one pair, or on the one pair of either run."""
    single = all(len({finding.pair for finding in run}) == 1 for run in runs)
    first, second = (
        {(finding.key if single else f"{finding.pair}: {finding.key}"): finding for finding in run} for run in runs
    )
    rows = [_compared(key, first.get(key), second.get(key)) for key in dict.fromkeys((*first, *second))]
    return {"kind": "runs", "names": list(names), "rows": rows}


def _compared(key: str, one: Finding | None, other: Finding | None) -> dict[str, Any]:
    figures = [_figures(name, ours, theirs) for name, ours, theirs in _matched(one, other)]
    return {
        "key": key,
        "pairs": [found.pair if found else None for found in (one, other)],
        "verdicts": [found.verdict.value if found else None for found in (one, other)],
        "reasons": [found.reason if found else "" for found in (one, other)],
        "changed": one is not None and other is not None and one.verdict is not other.verdict,
        "figures": figures,
        "paired": _paired(one, other),
        "beyond": [figure["name"] for figure in figures if figure["beyond"]],
    }


def _paired(one: Finding | None, other: Finding | None) -> dict[str, Any] | None:
    """The difference of the effects by prompt, where both runs kept them of the same prompts."""
    ours, theirs = (found.effects if found else None for found in (one, other))
    if ours is None or theirs is None or (ours.unit, ours.prompts) != (theirs.unit, theirs.prompts):
        return None
    difference = paired(ours.values, theirs.values)
    return difference and difference | {"unit": ours.unit}


def _matched(one: Finding | None, other: Finding | None) -> list[tuple[str, Any, Any]]:
    """Figures and controls by name, with None where one run has none."""
    sides = [_named(found) for found in (one, other)]
    return [(name, sides[0].get(name), sides[1].get(name)) for name in dict.fromkeys((*sides[0], *sides[1]))]


def _named(found: Finding | None) -> Mapping[str, Any]:
    if found is None:
        return {}
    controls = {f"control: {control.name}": control.figure for control in found.controls}
    return {**{figure.name: figure for figure in found.figures}, **controls}


def _figures(name: str, ours: Any, theirs: Any) -> dict[str, Any]:
    """Both figures, their difference, and whether it lies beyond the first one's tolerance."""
    both = ours is not None and theirs is not None
    difference = theirs.value - ours.value if both else None
    beyond = both and (ours.unit != theirs.unit or abs(theirs.value - ours.value) > ours.tolerance)
    apart = both and (theirs.low > ours.high or theirs.high < ours.low)
    return {
        "name": name, "sides": [to_json(figure) if figure is not None else None for figure in (ours, theirs)],
        "difference": difference, "beyond": bool(beyond), "apart": bool(apart),
    }  # fmt: skip
