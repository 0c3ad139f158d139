from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from dormant.catalogue import pairs_of_set
from dormant.claims.finding import FINDINGS_FILE
from dormant.cli import app
from dormant.errors import BadInput
from dormant.records import write_json
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
