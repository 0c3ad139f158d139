from __future__ import annotations

from pathlib import Path

import pytest

from dormant.errors import BadInput
from dormant.records import write_json
from dormant.report.frames import read_findings
from tests.report.samples import zoo_findings


def test_a_frame_has_a_row_for_each_finding(tmp_path: Path) -> None:
    findings = zoo_findings()
    write_json(tmp_path / "findings.json", [one.keyed_record for one in findings])
    frame = read_findings(tmp_path)
    assert len(frame) == len(findings)
    assert list(frame["verdict"]) == [one.verdict.value for one in findings]
    assert list(frame["value"]) == [one.deciding.value for one in findings]


def test_a_folder_without_findings_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"findings\.json"):
        read_findings(tmp_path)
