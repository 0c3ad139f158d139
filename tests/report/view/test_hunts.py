from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dormant.errors import BadInput
from dormant.records import to_json, write_json
from dormant.report.view.hunts import hunt_data, packed, unpacked
from tests.report.view.samples import hunt, lineage, trace, write_hunt


def test_packed_rows_hold_each_repeated_text_once() -> None:
    rows = to_json(lineage())
    found = packed(rows)
    assert len(found["texts"]) == len(set(found["texts"]))
    assert unpacked(found) == rows


def test_a_report_of_something_else_is_a_sentence(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", {"verdict": "clean"})
    with pytest.raises(BadInput, match="must hold verdict, reason"):
        hunt_data(tmp_path)


def test_a_trace_of_a_later_version_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a trace must be of version 1; got 2"):
        hunt_data(write_hunt(tmp_path, hunt(), replace(trace(), version=2)))
