"""A delta report as a file: what `dormant diff` writes and figures-only pairs read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.records import from_json, read_json, to_json
from dormant.weights.delta_report import DeltaReport, TensorDelta

SCHEMA = 1
# Left out of the file where they are not known: what a later version measures leaves older reports as they were.
OPTIONAL_PARTS = ("layout", "faults", "tokens")
OPTIONAL: dict[str, Any] = {
    "spectrum_error": 0.0,
    "noise_edge": None,
    "rank": None,
    "rank_is_bound": False,
    "heads": [],
}


def report_to_json(report: DeltaReport) -> dict[str, Any]:
    """The report as plain JSON values, with its schema number."""
    record = to_json(report)
    tensors = record.pop("tensors")
    parts = {key: value for key, value in record.items() if key not in OPTIONAL_PARTS or value}
    return {"schema": SCHEMA, **parts, "tensors": {name: _entry(delta) for name, delta in tensors.items()}}


def report_identity(report: DeltaReport) -> str:
    """JSON of what every report holds; figures that later versions add leave it, and a pair's fingerprint, as it was."""
    record = report_to_json(report)
    for part in OPTIONAL_PARTS:
        record.pop(part, None)
    for entry in record["tensors"].values():
        for part in OPTIONAL:
            entry.pop(part, None)
    return json.dumps(record, sort_keys=True)


def write_delta_report(report: DeltaReport, file: Path) -> None:
    """Writes the report as JSON; floats keep every digit."""
    try:
        file.write_text(json.dumps(report_to_json(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"a delta report must go to a writable file; got {error.strerror} at {file}; name another"
        ) from error


def read_delta_report(file: Path) -> DeltaReport:
    """Reads what `write_delta_report` wrote; raises BadInput naming the file and what does not fit."""
    record = from_json(dict[str, Any], read_json(file), file)
    if (schema := record.pop("schema", None)) != SCHEMA:
        raise BadInput(
            f"a delta report must be of schema {SCHEMA}; got {schema!r} at {file}; write it with `dormant diff`"
        )
    entries = from_json(dict[str, dict[str, Any]], record.get("tensors"), file)
    record["tensors"] = {name: {"name": name, **entry} for name, entry in entries.items()}
    report = from_json(DeltaReport, record, file)
    for delta in report.tensors.values():
        _check_finite(delta, file)
    for listed in report.tokens:
        if not len(listed.ids) == len(listed.texts) == len(listed.scores):
            raise BadInput(
                f"a token needs an id, a text and a score; got lists of other lengths for {listed.module} at {file}; "
                "write it with `dormant diff`"
            )
    return report


def _entry(delta: dict[str, Any]) -> dict[str, Any]:
    """A tensor's entry: all fields but its name and what was not measured."""
    return {
        key: value for key, value in delta.items() if key != "name" and (key not in OPTIONAL or value != OPTIONAL[key])
    }


def _check_finite(delta: TensorDelta, file: Path) -> None:
    numbers = [delta.norm, delta.energy, *delta.singular_values, delta.spectrum_error]
    numbers += [x for x in (delta.relative, delta.max_abs, delta.noise_edge, delta.rank) if x is not None]
    numbers += [number for head in delta.heads for number in (head.norm, head.sigma1, head.energy4)]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise BadInput(
            f"figures must be finite and not negative; got others for {delta.name} at {file}; "
            "write it with `dormant diff`"
        )
