"""What the Allure report gets: labels, descriptions, attachments and environment; nothing without allure-pytest.

Labels hold the verdict and whether it differs from the ledger; `CATEGORIES` turns them into the report's groups.
"""

from __future__ import annotations

import csv
import inspect
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from dormant.claims.finding import Finding
from dormant.records import json_text
from dormant.report.grid import parameter_label, short_number

try:
    import allure
except ImportError:  # the report is an output, not a requirement
    allure = None  # type: ignore[assignment]

VERDICT_LABEL = "verdict"
LEDGER_LABEL = "ledger"
DIFFERS = "differs"

# The first match wins. Allure 3 ignores categories.json: html.py puts these into its configuration.
CATEGORIES: tuple[Mapping[str, object], ...] = (
    {"name": "The harness broke (no verdict)", "matchers": {"statuses": ["broken"]}, "expand": True},
    {"name": "Differs from the ledger", "matchers": {"labels": {LEDGER_LABEL: f"^{DIFFERS}$"}}, "expand": True},
    {"name": "Refuted", "matchers": {"labels": {VERDICT_LABEL: "^refuted$"}}},
    {"name": "Invalid: a premise does not hold", "matchers": {"labels": {VERDICT_LABEL: "^invalid$"}}},
    {"name": "Inconclusive", "matchers": {"labels": {VERDICT_LABEL: "^inconclusive$"}}},
)


def label_item(item: pytest.Item, claim: str, family: str, severity: str = "normal", tags: Sequence[str] = ()) -> None:
    """Group a test as feature (`family`) and story (`claim`), with tags and severity (blocker ... trivial)."""
    if not _active(item.config):
        return
    labels = [("feature", family), ("story", claim), ("severity", severity), *(("tag", tag) for tag in tags)]
    for label_type, value in labels:
        item.add_marker(pytest.mark.allure_label(value, label_type=label_type))


def describe_item(item: pytest.Item) -> None:
    """Show the test's docstring without its indentation; call it from `pytest_itemcollected`."""
    text = inspect.getdoc(getattr(item, "function", None))
    if text and _active(item.config) and item.get_closest_marker("allure_description") is None:
        item.add_marker(pytest.mark.allure_description(text))


def attach_finding(finding: Finding, pictures: Mapping[str, str] | None = None, differs: bool = False) -> None:
    """Give the running test its finding's title, description, labels, measured value and files.

    pictures: name -> SVG. differs: whether the ledger has another verdict or figure. The measured value is an
    excluded parameter: otherwise the test would have a new identity, and no history, in every run.
    """
    if allure is None:
        return
    label = parameter_label(finding.parameters)
    # The verdict is in the title because status cannot show it: a reproduced refutation passes.
    allure.dynamic.title(f"{finding.pair}: {label or finding.claim}: {finding.verdict}")
    allure.dynamic.description(describe_finding(finding))
    allure.dynamic.label(VERDICT_LABEL, finding.verdict.value)
    allure.dynamic.tag(finding.verdict.value)
    if differs:
        allure.dynamic.label(LEDGER_LABEL, DIFFERS)
    allure.dynamic.parameter(
        "measured", f"{short_number(finding.deciding.value)} {finding.deciding.unit}", excluded=True
    )
    for name, content in (pictures or {}).items():
        allure.attach(content, name=name, attachment_type=allure.attachment_type.SVG)
    allure.attach(figures_csv(finding), name="figures", attachment_type=allure.attachment_type.CSV)
    record = json_text(finding.keyed_record, default=str)
    allure.attach(record, name="finding", attachment_type=allure.attachment_type.JSON)


def describe_finding(finding: Finding) -> str:
    """The finding in markdown: statement, rule, verdict with its reason, premises and controls."""
    lines = [
        f"**{finding.verdict}**: {finding.reason}",
        f"Claim: {finding.sentence} Source: {finding.source}.",
        f"Rule: {finding.deciding.name} {finding.rule}, because {finding.rule.because}.",
        f"Measured: {finding.deciding} (n = {finding.deciding.n}, {finding.deciding.method}).",
    ]
    if finding.controls:
        outcomes = (f"{one.name} {one.figure} ({'beaten' if one.beaten else 'not beaten'})" for one in finding.controls)
        lines.append(f"Controls: {'; '.join(outcomes)}.")
    if finding.premises:
        lines.append("Premises: " + "; ".join(f"{name} {verdict}" for name, verdict in finding.premises.items()) + ".")
    return "\n\n".join(lines)


def figures_csv(finding: Finding) -> str:
    """The finding's figures, then its controls, as CSV, which Allure shows as a table."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["figure", "value", "unit", "low", "high", "n", "method"])
    controls = ((f"control: {control.name}", control.figure) for control in finding.controls)
    for name, figure in (*((figure.name, figure) for figure in finding.figures), *controls):
        numbers = [f"{number:.6g}" for number in (figure.value, figure.low, figure.high)]
        writer.writerow([name, numbers[0], figure.unit, *numbers[1:], figure.n, figure.method])
    return text.getvalue()


def write_environment(results: Path, provenance: Mapping[str, str]) -> None:
    """Write `environment.properties`: the run's conditions on the report's first page."""
    lines = [f"{name.replace(' ', '.')}={value}".replace("\n", " ") for name, value in provenance.items()]
    _write(results / "environment.properties", "\n".join(lines) + "\n")


def write_executor(results: Path, name: str, build: str, url: str = "") -> None:
    """Write `executor.json`: who ran it (`make hypotheses`, a CI job), and which commit or build."""
    record: dict[str, Any] = {"name": name, "type": "local", "buildName": build, "reportName": "dormant"}
    if url:
        record |= {"type": "ci", "buildUrl": url}
    _write(results / "executor.json", json_text(record) + "\n")


def results_folder(config: pytest.Config) -> Path | None:
    """The folder to which this run writes Allure results; None without allure-pytest or `--alluredir`."""
    folder = config.getoption("allure_report_dir", default=None)
    return Path(folder) if folder else None


def _active(config: pytest.Config) -> bool:
    return config.pluginmanager.hasplugin("allure_pytest")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
