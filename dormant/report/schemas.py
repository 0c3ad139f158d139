"""The JSON Schemas of the files that runs leave; docs/schemas holds them as published."""

from __future__ import annotations

from typing import Any

from dormant.claims.finding import FINDINGS_FILE, Finding
from dormant.hunt.result import HuntResult
from dormant.hunt.trace import TRACE_FILE, TRACE_VERSION, HuntTrace
from dormant.json_schema import json_schema

VERSION = 1  # to be raised when a reader of the files must change


def schemas() -> dict[str, dict[str, Any]]:
    """By file name: what `pytest -m hypothesis` and `dormant hunt` write."""
    return {
        FINDINGS_FILE: json_schema(tuple[Finding, ...], "The findings of a run of claims", VERSION),
        "hunt.json": json_schema(HuntResult, "The report.json of a hunt", VERSION),
        TRACE_FILE: json_schema(HuntTrace, "What a hunt keeps for its page, trace.json", TRACE_VERSION),
    }
