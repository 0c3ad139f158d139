from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dormant.report import allure as reporting
from tests.report.samples import finding

ROOT = Path(__file__).parents[2]
CONFTEST = """
from pathlib import Path
from dormant.report import allure as reporting

def pytest_itemcollected(item):
    reporting.label_item(item, "layer0-concentration", "weights", severity="critical", tags=["hypothesis"])
    reporting.describe_item(item)

def pytest_sessionfinish(session):
    folder = reporting.results_folder(session.config)
    print("results:", folder and Path(folder).name)
"""
TEST = """
from dormant.report.allure import attach_finding
from tests.report.samples import finding

def test_claim():
    \"\"\"A sentence.

    Details.
    \"\"\"
    attach_finding(finding("circuit", 9.1234567), {"shares": "<svg/>"}, differs=True)

def test_described():
    \"\"\"A sentence.

    Details.
    \"\"\"
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_claims.py").write_text(TEST)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    pytest.importorskip("allure_pytest")
    folder = tmp_path_factory.mktemp("allure")
    assert "results: results" in run_pytest(folder, "--alluredir", "results").stdout
    found = [json.loads(path.read_text()) for path in (folder / "results").glob("*-result.json")]
    return {result["fullName"].split("#")[1]: result for result in found}


def test_a_finding_gives_labels_title_and_files(results: dict[str, dict[str, Any]]) -> None:
    result = results["test_claim"]
    labels = {(label["name"], label["value"]) for label in result["labels"]}
    assert labels >= {
        ("feature", "weights"), ("story", "layer0-concentration"), ("severity", "critical"), ("tag", "hypothesis"),
        ("verdict", "supported"), ("ledger", "differs"),
    }  # fmt: skip
    assert result["name"] == "circuit: q_proj, median: supported"
    assert result["description"].startswith("**supported**")
    types = [attachment["type"] for attachment in result["attachments"]]
    assert types == ["image/svg+xml", "text/csv", "application/json"]


def test_measured_values_do_not_change_a_tests_identity(results: dict[str, dict[str, Any]]) -> None:
    measured = [one for one in results["test_claim"]["parameters"] if one["name"] == "measured"]
    assert [(one["excluded"], one["value"]) for one in measured] == [(True, "'9.12 ratio'")]


def test_docstrings_are_shown_without_indentation(results: dict[str, dict[str, Any]]) -> None:
    assert results["test_described"]["description"] == "A sentence.\n\nDetails."


def test_everything_works_without_the_allure_plugin(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "-p", "no:allure_pytest", "--strict-markers")
    assert "2 passed" in done.stdout
    assert "results: None" in done.stdout


def test_everything_works_without_the_allure_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "allure", None)
    reporting.attach_finding(finding("circuit", 9.0))


def test_figures_and_controls_become_a_table() -> None:
    lines = reporting.figures_csv(finding("circuit", 9.0, spread=1.0)).splitlines()
    assert lines[:2] == ["figure,value,unit,low,high,n,method", "ratio,9,ratio,8,10,11,bootstrap"]
    assert lines[-1].startswith("control: median layer,1,ratio")


def test_environment_and_executor_are_files_of_the_results(tmp_path: Path) -> None:
    reporting.write_environment(tmp_path, {"option ledger": "a\nb", "seed": "0"})
    reporting.write_executor(tmp_path, "CI", "abc123", url="https://ci.example/1")
    assert (tmp_path / "environment.properties").read_text() == "option.ledger=a b\nseed=0\n"
    assert json.loads((tmp_path / "executor.json").read_text())["buildUrl"] == "https://ci.example/1"
