from __future__ import annotations

from pathlib import Path

import pytest

from dormant.errors import BadInput
from dormant.report.view.folder import view_data
from tests.report.samples import zoo_findings
from tests.report.view.samples import hunt, trace, write_hunt, write_run

LEDGER = Path("reports/ledger")


def test_a_folder_of_nothing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a view must be of a hunt's folder.*got none at"):
        view_data([tmp_path], LEDGER)


def test_a_hunt_and_a_run_are_not_compared(tmp_path: Path) -> None:
    folders = [write_hunt(tmp_path / "a", hunt(), None), write_run(tmp_path / "b", zoo_findings())]
    with pytest.raises(BadInput, match="got a hunt and a run of claims"):
        view_data(folders, LEDGER)


def test_the_folder_of_a_job_holds_its_result(tmp_path: Path) -> None:
    write_hunt(tmp_path / "circuit" / "result", hunt(), trace())
    assert view_data([tmp_path / "circuit"], LEDGER)["name"] == "circuit"


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [write_hunt(tmp_path / day / "hunt", hunt(), trace()) for day in ("monday", "tuesday")]
    first, second = (one["name"] for one in view_data(folders, LEDGER)["hunts"])
    assert first != second
