from __future__ import annotations

import json
from pathlib import Path

from jsonschema import validate

from dormant.records import json_text
from dormant.report.schemas import schemas
from tests.report.samples import zoo_findings
from tests.report.view.samples import trace

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"


def test_the_published_schemas_are_those_of_the_code() -> None:
    for name, schema in schemas().items():
        assert json.loads((PUBLISHED / name).read_text()) == schema, "run python scripts/schemas.py"


def test_findings_fit_their_published_schema() -> None:
    validate([json.loads(json.dumps(one.keyed_record)) for one in zoo_findings()], schemas()["findings.json"])


def test_a_trace_fits_its_published_schema() -> None:
    validate(json.loads(json_text(trace())), schemas()["trace.json"])
