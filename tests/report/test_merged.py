from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dormant.catalogue import PairDescription
from dormant.claims.finding import Finding, Verdict
from dormant.claims.ledger import Ledger
from dormant.errors import BadInput
from dormant.records import write_json
from dormant.report.merged import read_merged, write_merged
from dormant.sweeps.job import Failure
from dormant.sweeps.outcome import Outcome
from tests.report.samples import finding


def make_job(folder: Path, verb: str, said: str = "compared", **files: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "attempts.jsonl").write_text("")
    for name, content in files.items():
        write_json(folder / "result" / f"{name}.json", content)
    write_json(folder / "result" / "outcome.json", Outcome(verb, PairDescription(folder.name), 0, said))
    return folder


def records(*findings: Finding) -> list[object]:
    return [found.keyed_record for found in findings]


def test_the_findings_of_all_jobs_stand_in_one_grid_with_one_ledger(tmp_path: Path) -> None:
    for name in ("circuit", "circuit-plain"):
        make_job(tmp_path / "sweep" / name, "claims", "supported", findings=records(finding(name, 16.0)))
    found = read_merged([tmp_path / "sweep"])
    summary = write_merged(found, tmp_path / "report", tmp_path / "none").read_text()
    assert "| claim | parameters | circuit | circuit-plain | does it tell |" in summary
    assert "Nothing differs from the ledger." in summary
    recorded = Ledger(tmp_path / "report" / "ledger" / "quick")
    assert [recorded.differences(one) for one in found.findings] == [[], []]
    assert len(json.loads((tmp_path / "report" / "findings.json").read_text())) == 2


def test_what_differs_from_the_recorded_ledger_is_listed(tmp_path: Path) -> None:
    make_job(tmp_path / "sweep" / "pi", "claims", findings=records(finding("pi", 2.0, Verdict.REFUTED)))
    Ledger(tmp_path / "ledger" / "quick").record([finding("pi", 16.0)])
    summary = write_merged(read_merged([tmp_path / "sweep"]), tmp_path / "report", tmp_path / "ledger").read_text()
    assert "verdict: recorded supported, measured refuted" in summary


def test_pages_are_copied_and_what_gave_nothing_says_why(tmp_path: Path) -> None:
    make_job(tmp_path / "sweep" / "pi", "hunt", hunt={"verdict": "backdoored", "reason": "a | b fires"})
    (tmp_path / "sweep" / "pi" / "result" / "report.html").write_text("<p>page")
    broken = make_job(tmp_path / "sweep" / "token", "hunt")
    (broken / "result" / "outcome.json").unlink()
    write_json(broken / "failure.json", Failure("the weights are damaged"))
    summary = write_merged(read_merged([tmp_path / "sweep"]), tmp_path / "report", tmp_path).read_text()
    assert r"| pi | hunt | backdoored: a \| b fires | [report.html](pages/pi-hunt-report.html)" in summary
    assert "| token | - | no result: the weights are damaged |  |" in summary
    assert (tmp_path / "report" / "pages" / "pi-hunt-report.html").read_text() == "<p>page"


def test_one_job_and_the_reports_of_pytest_merge_too(tmp_path: Path) -> None:
    job = make_job(tmp_path / "sweep" / "pi", "claims", findings=records(finding("pi", 16.0)))
    write_json(tmp_path / "reports" / "findings.json", records(finding("sham", 1.0), finding("pi", 16.0)))
    assert [one.pair for one in read_merged([job, tmp_path / "reports"]).findings] == ["pi", "sham"]


def test_what_cannot_be_merged_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a report must be of a sweep's folder"):
        read_merged([tmp_path])
    for place, value in (("a", 16.0), ("b", 17.0)):
        make_job(tmp_path / place / "pi", "claims", findings=records(finding("pi", value)))
    with pytest.raises(BadInput, match="a finding must be the same wherever it stands; got two of layer0-conc"):
        read_merged([tmp_path / "a", tmp_path / "b"])
    for place in ("c", "d"):
        make_job(tmp_path / place / "pi", "diff", delta={})
    with pytest.raises(BadInput, match="a report holds one result of a verb on a pair; got two: diff of pi"):
        read_merged([tmp_path / "c", tmp_path / "d"])


def test_where_and_when_a_finding_was_made_does_not_make_it_another(tmp_path: Path) -> None:
    first = finding("pi", 16.0)
    for place, found in (("a", first), ("b", replace(first, provenance={"seed": "0", "commit": "other"}))):
        make_job(tmp_path / place / "pi", "claims", findings=records(found))
    assert len(read_merged([tmp_path / "a", tmp_path / "b"]).findings) == 1
