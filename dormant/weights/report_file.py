"""A delta report as a file: what `dormant diff` writes and figures-only pairs read."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dormant.errors import BadInput
from dormant.weights.delta_report import DeltaReport, TensorDelta, TokenReadout
from dormant.weights.heads import HeadDelta, HeadLayout

SCHEMA = 1
# Left out of the file where they are not known: what a later version measures leaves older reports as they were.
OPTIONAL = {"spectrum_error": 0.0, "noise_edge": None, "rank": None, "rank_is_bound": False, "heads": ()}


def report_to_dict(report: DeltaReport) -> dict[str, Any]:
    """The report as plain JSON values, with its schema number."""
    fields = {name: getattr(report, name) for name in ("base", "dormant", "source", "note", "norm_is_float32")}
    if report.layout is not None:
        fields["layout"] = asdict(report.layout)
    if report.faults:
        fields["faults"] = list(report.faults)
    if report.tokens:
        fields["tokens"] = [asdict(listed) for listed in report.tokens]
    return {"schema": SCHEMA, **fields, "tensors": {name: _figures(d) for name, d in report.tensors.items()}}


def report_identity(report: DeltaReport) -> str:
    """JSON of what every report holds; figures that later versions add leave it, and a pair's fingerprint, as it was."""
    record = report_to_dict(report)
    for part in ("layout", "faults", "tokens"):
        record.pop(part, None)
    for entry in record["tensors"].values():
        for part in OPTIONAL:
            entry.pop(part, None)
    return json.dumps(record, sort_keys=True)


def report_from_dict(record: dict[str, Any], file: str) -> DeltaReport:
    """The inverse of `report_to_dict`; `file` is named where the record does not fit."""
    try:
        fields = dict(record)
        if (schema := fields.pop("schema")) != SCHEMA:
            raise ValueError(f"schema {schema}")
        tensors = {name: _tensor_delta(name, entry) for name, entry in fields.pop("tensors").items()}
        layout, faults = fields.pop("layout", None), tuple(fields.pop("faults", ()))
        listed = tuple(map(_pointed_tokens, fields.pop("tokens", ())))
        return DeltaReport(
            tensors=tensors, layout=layout and HeadLayout(**layout), faults=faults, tokens=listed, **fields
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"a delta report must be a JSON object of schema {SCHEMA}; got {error!r} at {file}; "
            "write it with `dormant diff`"
        ) from error


def write_delta_report(report: DeltaReport, file: Path) -> None:
    """Writes the report as JSON; floats keep every digit."""
    try:
        file.write_text(json.dumps(report_to_dict(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"a delta report must go to a writable file; got {error.strerror} at {file}; name another"
        ) from error


def read_delta_report(file: Path) -> DeltaReport:
    """Reads what `write_delta_report` wrote."""
    return report_from_dict(read_json(file), str(file))


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; raises BadInput naming the file."""
    try:
        record = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"a file must be readable JSON; got {error} at {file}; check the path or write it again"
        ) from error
    if not isinstance(record, dict):
        raise BadInput(f"a file must hold a JSON object; got {type(record).__name__} at {file}; write it again")
    return record


def _figures(delta: TensorDelta) -> dict[str, Any]:
    """A tensor's entry: all fields but its name and what was not measured."""
    return {
        key: value
        for key, value in asdict(delta).items()
        if key != "name" and (key not in OPTIONAL or value != OPTIONAL[key])
    }


def _tensor_delta(name: str, entry: dict[str, Any]) -> TensorDelta:
    fields = {**entry, "shape": tuple(entry["shape"]), "singular_values": tuple(entry["singular_values"])}
    fields["heads"] = tuple(HeadDelta(**head) for head in entry.get("heads", ()))
    numbers = [fields["norm"], fields["energy"], *fields["singular_values"], fields.get("spectrum_error", 0.0)]
    numbers += [fields[key] for key in ("relative", "max_abs", "noise_edge", "rank") if fields.get(key) is not None]
    numbers += [number for head in fields["heads"] for number in (head.norm, head.sigma1, head.energy4)]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(f"a figure of {name} that is negative or not finite")
    return TensorDelta(name=name, **fields)


def _pointed_tokens(entry: dict[str, Any]) -> TokenReadout:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    listed = TokenReadout(**fields)
    if not len(listed.ids) == len(listed.texts) == len(listed.scores):
        raise ValueError(f"lists of other lengths for the tokens of {listed.module}")
    return listed
