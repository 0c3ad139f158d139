"""What the page of a hunt shows: its report.json, what it kept beside, and the spread of clean models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.hunt.calibrated import calibrated
from dormant.hunt.trace import TRACE_FILE, TRACE_VERSION, rounded
from dormant.records import read_json

REPORT_FILE, JOURNAL_FILE = "report.json", "hunt.jsonl"
REPEATED = ("stage", "outcome", "unit", "position", "payload")  # texts of which many rows have the same
OF_A_HUNT = ("verdict", "reason", "ranked", "suspects", "threshold", "confirmation")


def hunt_data(folder: Path) -> dict[str, Any]:
    """The data of a hunt's page; a hunt without trace.json is shown without answers and lineage, one that runs as far as it is.

    Raises BadInput for a report.json of something else, and for a trace of a later version.
    """
    if not (folder / REPORT_FILE).exists():
        from dormant.report.view.running import hunt_so_far  # with torch, which a finished hunt's page does not need

        return _data(folder, *hunt_so_far(folder / JOURNAL_FILE))
    report = read_json(folder / REPORT_FILE)
    missing = [name for name in OF_A_HUNT if not isinstance(report, dict) or name not in report]
    if missing:
        raise BadInput(
            f"a hunt's {REPORT_FILE} must hold {', '.join(OF_A_HUNT)}; got none of {', '.join(missing)} at "
            f"{folder / REPORT_FILE}; name the folder that dormant hunt wrote"
        )
    return _data(folder, report, _trace(folder))


def _data(folder: Path, report: dict[str, Any], trace: dict[str, Any] | None) -> dict[str, Any]:
    clean = calibrated()["clean evidence"]
    lineage = packed(rounded(trace.pop("lineage"))) if trace is not None else None
    return {"kind": "hunt", "name": folder.name, "report": report, "trace": trace, "clean": clean, "lineage": lineage}


def packed(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of the same names as columns, texts that repeat once each: thirty thousand strings take two megabytes, not eight."""
    names = list(rows[0]) if rows else []
    texts: dict[str, int] = {}
    columns = {
        name: [texts.setdefault(row[name], len(texts)) if name in REPEATED else row[name] for row in rows]
        for name in names
    }
    return {"columns": columns, "repeated": [name for name in names if name in REPEATED], "texts": list(texts)}


def unpacked(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that `packed` was given."""
    columns = {
        name: [found["texts"][value] for value in column] if name in found["repeated"] else column
        for name, column in found["columns"].items()
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _trace(folder: Path) -> dict[str, Any] | None:
    file = folder / TRACE_FILE
    if not file.exists():
        return None
    trace: dict[str, Any] = read_json(file)
    if trace.get("version") != TRACE_VERSION:
        raise BadInput(
            f"a trace must be of version {TRACE_VERSION}; got {trace.get('version')!r} at {file}; use the dormant that wrote it"
        )
    return trace
