from __future__ import annotations

from pathlib import Path

import pytest

from dormant.claims.finding import Verdict
from dormant.errors import BadInput
from dormant.report.summary import Run, summary_markdown, write_summary
from tests.report.samples import RELATIVES, finding, zoo_findings


def test_the_summary_reads_on_its_own(tmp_path: Path) -> None:
    run = Run({"commit": "abc123"}, seconds=90, differences=["one differs"], unproduced=["one is gone"])
    findings = zoo_findings()
    supported = sum(each.verdict is Verdict.SUPPORTED for each in findings)
    text = write_summary(findings, tmp_path / "reports" / "summary.md", run, RELATIVES).read_text()
    for expected in (
        "3 claims on 16 pairs", "at commit abc123", "It took 1.5 minutes",
        f"**{len(findings)} findings**: {supported} supported",
        "- one differs", "- one is gone", "because clean fine-tunes of this size stay below three",
        "median layer: 1 ratio (beaten)",
        "[circuit circuit](pictures/circuit.png)", "How to read a verdict", "AUROC",
    ):  # fmt: skip
        assert expected in text


def test_a_run_without_differences_says_so() -> None:
    assert "Nothing differs from the ledger." in summary_markdown([finding("pi", 1.0)], Run(), {})


def test_a_run_without_findings_still_has_a_summary() -> None:
    text = summary_markdown([], Run(broken=["test_gcg: KeyError"]), {})
    assert "1 test broke" in text
    assert "No claim gave a finding." in text


def test_pipes_and_newlines_do_not_break_tables() -> None:
    text = summary_markdown([finding("pi", 1.0, reason="a | b\nc")], Run(), {})
    assert "a \\| b c |" in text


def test_an_unwritable_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("in the way")
    with pytest.raises(BadInput, match="must be writable"):
        write_summary([], tmp_path / "reports" / "summary.md")
