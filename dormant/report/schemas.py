"""The JSON Schemas of the files that runs leave; docs/schemas holds them as published."""

from __future__ import annotations

from typing import Any

from dormant.calibration.outcomes import Outcome as Calibrated
from dormant.claims.finding import FINDINGS_FILE, Finding
from dormant.claims.ledger import RecordedPair
from dormant.hunt.result import HuntResult
from dormant.hunt.trace import TRACE_FILE, TRACE_VERSION, HuntTrace
from dormant.json_schema import json_schema
from dormant.report.telling_table import TellingTable
from dormant.sweeps.job import Failure
from dormant.sweeps.outcome import OUTCOME, Outcome

VERSION = 1  # to be raised when a reader of the files must change


def schemas() -> dict[str, dict[str, Any]]:
    """By file name: what `pytest -m hypothesis`, the ledger, `dormant hunt`, sweeps and calibrations write."""
    return {
        FINDINGS_FILE: json_schema(tuple[Finding, ...], "The findings of a run of claims", VERSION),
        "ledger.json": json_schema(RecordedPair, "The recorded findings of a pair, ledger/BUDGET/PAIR.json", VERSION),
        "hunt.json": json_schema(HuntResult, "What dormant hunt writes with --json", VERSION),
        "report.json": _report(),
        TRACE_FILE: json_schema(HuntTrace, "What a hunt keeps for its page, trace.json", TRACE_VERSION),
        "telling.json": json_schema(TellingTable, "What dormant telling writes", VERSION),
        OUTCOME: json_schema(Outcome, "How a verb ended on a pair of a sweep", VERSION),
        "failure.json": json_schema(Failure, "Why an attempt of a sweep gave no result", VERSION),
        "calibrated.json": json_schema(Calibrated, "What a hunt said of a subject of the calibration", VERSION),
    }


def _report() -> dict[str, Any]:
    """A hunt's result with the pair, and each of its settings with the reason for it."""
    schema = json_schema(HuntResult, "The report.json of a hunt", VERSION)
    reasoned = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["value", "why"]}
    groups = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": reasoned}}
    named = {"pair": {"type": "string"}, "fingerprint": {"type": "string"}, "settings": groups}
    result = schema["$defs"]["HuntResult"]
    result["properties"] |= named
    result["required"] += list(named)
    return schema
