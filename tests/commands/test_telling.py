from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from dormant.catalogue import pairs_of_set
from dormant.claims.finding import FINDINGS_FILE, Rule, Verdict
from dormant.cli import app
from dormant.errors import BadInput
from dormant.records import read_json, write_json
from tests.report.samples import finding


def test_the_findings_of_a_run_become_a_table_of_all_models_of_known_truth(tmp_path: Path) -> None:
    pairs = {name: pair for name, pair in pairs_of_set("calibration").items() if pair.truth is not None}
    findings = [finding(name, float(pair.truth is not None and pair.truth.backdoored)) for name, pair in pairs.items()]
    write_json(tmp_path / "run" / FINDINGS_FILE, [one.keyed_record for one in findings])
    done = CliRunner().invoke(
        app, ["telling", str(tmp_path / "run"), "--out", str(tmp_path / "table"), "--without", "pi-plain"]
    )
    assert done.exit_code == 0, done.output
    assert "1.00 [" in done.output
    assert f"1 rows over {len(pairs) - 1} models" in done.output
    assert {path.name for path in (tmp_path / "table").iterdir()} == {
        "README.md",
        "telling.json",
        "known_auroc.json",
        "auroc.png",
    }


def test_a_folder_without_findings_is_bad_input(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["telling", str(tmp_path), "--out", str(tmp_path / "table")])
    assert isinstance(done.exception, BadInput)


def test_the_record_turns_rules_round_and_asks_each_organism_beside_its_own_plain_relative(tmp_path: Path) -> None:
    """Relatives of other kinds lie beyond every organism, so that the AUROC is low where all beat their own twins."""
    pairs = {name: pair for name, pair in pairs_of_set("calibration").items() if pair.truth is not None}
    twins = {f"{name}-plain" for name in pairs}
    values = {
        name: 1.0 if pair.truth is not None and pair.truth.backdoored else 0.0 if name in twins else 2.0
        for name, pair in pairs.items()
    }
    findings = [
        finding(name, value if sign == "at least" else -value, claim=sign, rule=Rule(sign, 4.0, "ratio", ""))
        for name, value in values.items()
        for sign in ("at least", "at most")
    ]
    findings += [finding(name, 1.0, claim="all alike", rule=Rule("at least", 4.0, "ratio", "")) for name in pairs]
    findings += [finding(name, 1.0, Verdict.INVALID, claim="invalid") for name in pairs]
    write_json(tmp_path / "run" / FINDINGS_FILE, [one.keyed_record for one in findings])
    done = CliRunner().invoke(app, ["telling", str(tmp_path / "run"), "--out", str(tmp_path / "table")])
    assert done.exit_code == 0, done.output
    record = read_json(tmp_path / "table" / "telling.json")
    rows = {row["claim"]: row for row in record["rows"]}
    clean = [value for value in values.values() if value != 1]
    for claim in ("at least", "at most"):
        assert rows[claim]["paired"]["value"] == 1
        assert rows[claim]["auroc"]["value"] == clean.count(0) / len(clean)
    alike = rows["all alike"]
    assert alike["paired"]["value"] == alike["auroc"]["value"] == 0.5
    assert alike["auroc"]["high"] < 0.8
    assert (alike["paired"]["low"], alike["paired"]["high"]) == (0, 1)
    assert (rows["invalid"]["auroc"], rows["invalid"]["values"]) == (None, {})
    families = {one["cluster"] for one in record["subjects"]}
    assert len(families) < len(pairs)
    assert record["rows"][-1]["claim"] == "invalid"
