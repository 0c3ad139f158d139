from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dormant.claims.finding import FINDINGS_SO_FAR, PromptEffects, Verdict
from dormant.claims.ledger import Ledger
from dormant.records import json_text
from dormant.report.view.folder import view_data
from dormant.report.view.runs import run_data, runs_compared, shortened
from tests.report.samples import finding, zoo_findings
from tests.report.view.samples import write_run


def test_a_run_is_shown_with_its_grid_and_what_the_ledger_has(tmp_path: Path) -> None:
    findings = zoo_findings()
    Ledger(tmp_path / "ledger" / "quick").record(findings[:1])
    data = run_data(write_run(tmp_path, findings), tmp_path / "ledger")
    assert sum(len(row["cells"]) for row in data["rows"]) == len(findings)
    assert [one is not None for one in data["ledger"]] == [True] + [False] * (len(findings) - 1)
    assert data["ledger"][0]["differences"] == []


def test_a_page_holds_the_conditions_of_a_run_once_and_six_digits_of_a_figure(tmp_path: Path) -> None:
    findings = [finding(pair, 9.123456789) for pair in ("circuit", "pi")]
    data = run_data(write_run(tmp_path, findings), tmp_path / "ledger")
    assert data["conditions"] == [{"seed": "0", "device": "cpu"}]
    assert [one["conditions"] for one in data["findings"]] == [0, 0]
    assert data["findings"][0]["figures"][0]["value"] == 9.12346
    assert shortened({"n": 30, "low": [None, float("inf"), 1e-300, 123456789.0]}) == {
        "n": 30, "low": [None, float("inf"), 1e-300, 123457000.0]
    }  # fmt: skip


def test_a_changed_verdict_and_a_figure_beyond_tolerance_are_told() -> None:
    one = finding("circuit", 5.0)
    other = replace(one, verdict=Verdict.REFUTED, figures=(replace(one.figures[0], value=5.05), one.figures[1]))
    (row,) = runs_compared(["a", "b"], [[one], [other]])["rows"]
    assert row["changed"]
    assert row["beyond"] == []
    far = replace(one, figures=(replace(one.figures[0], value=9.0, low=9.0, high=9.0), one.figures[1]))
    (row,) = runs_compared(["a", "b"], [[one], [far]])["rows"]
    assert (row["changed"], row["beyond"]) == (False, ["ratio"])


def test_effects_on_the_same_prompts_are_compared_in_pairs() -> None:
    prompts = [f"prompt {at}" for at in range(12)]
    one = replace(finding("circuit", 5.0), effects=PromptEffects.of(range(12), prompts, "nats"))
    other = replace(one, effects=PromptEffects.of([at + 0.5 + 0.01 * at for at in range(12)], prompts, "nats"))
    (row,) = runs_compared(["a", "b"], [[one], [other]])["rows"]
    assert row["paired"]["low"] > 0.5
    assert row["paired"]["p"] == pytest.approx(2 / 2**12)
    elsewhere = replace(one, effects=PromptEffects.of(range(12), prompts[::-1], "nats"))
    assert runs_compared(["a", "b"], [[one], [elsewhere]])["rows"][0]["paired"] is None


def test_a_suspect_is_compared_with_its_twin_by_claim_and_parameters() -> None:
    (row,) = runs_compared(["a", "b"], [[finding("circuit", 5.0)], [finding("circuit-plain", 1.0)]])["rows"]
    assert row["pairs"] == ["circuit", "circuit-plain"]


def test_a_run_that_goes_on_is_shown_with_its_findings_so_far(tmp_path: Path) -> None:
    one, other = zoo_findings()[:2]
    lines = [json_text(replace(found, reason="\u2028 so").keyed_record, indent=None) for found in (one, other)]
    half = lines[1].encode().partition("\u2028".encode())[0] + "\u2028".encode()[:2]  # and in it half of a letter
    (tmp_path / FINDINGS_SO_FAR).write_bytes(f"{lines[0]}\n".encode() + half)
    data = view_data([tmp_path], tmp_path / "ledger")
    assert data["running"]
    assert [found["key"] for found in data["findings"]] == [one.key]
