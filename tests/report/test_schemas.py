from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from jsonschema import ValidationError, validate

from dormant.catalogue import describe
from dormant.records import json_text
from dormant.report.schemas import schemas
from dormant.sweeps.job import Failure
from dormant.sweeps.outcome import Outcome
from tests.report.samples import zoo_findings
from tests.report.view.samples import hunt, trace, write_hunt

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"


def test_the_published_schemas_are_those_of_the_code() -> None:
    for name, schema in schemas().items():
        assert json.loads((PUBLISHED / name).read_text()) == schema, "run python scripts/schemas.py"


def test_findings_fit_their_published_schema() -> None:
    validate([json.loads(json.dumps(one.keyed_record)) for one in zoo_findings()], schemas()["findings.json"])


def test_a_trace_fits_its_published_schema() -> None:
    validate(json.loads(json_text(trace())), schemas()["trace.json"])


def test_the_report_of_a_hunt_and_what_it_writes_with_json_fit_theirs(tmp_path: Path) -> None:
    report = json.loads((write_hunt(tmp_path, hunt(), None) / "report.json").read_text())
    validate(report, schemas()["report.json"])
    validate(json.loads(json_text({"pair": "sample", **asdict(hunt())})), schemas()["hunt.json"])
    report["settings"]["rules"]["firing"] = 0.0
    with pytest.raises(ValidationError):
        validate(report, schemas()["report.json"])


@pytest.mark.parametrize(("files", "schema"), [("ledger/quick", "ledger.json"), ("calibration", "calibrated.json")])
def test_what_is_recorded_fits_its_published_schema(files: str, schema: str) -> None:
    recorded = [file for file in (PUBLISHED.parents[1] / "reports" / files).glob("*.json") if file.name != "power.json"]
    assert recorded
    for file in recorded:
        validate(json.loads(file.read_text()), schemas()[schema])


def test_what_a_job_of_a_sweep_leaves_fits_its_published_schema() -> None:
    for name, kept in {
        "outcome.json": Outcome("hunt", describe("suspect", "base", "suspect"), 0, "backdoored or taught"),
        "failure.json": Failure("the disk is full", again=True),
    }.items():
        validate(json.loads(json_text(kept)), schemas()[name])
