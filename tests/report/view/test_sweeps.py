from __future__ import annotations

from pathlib import Path

import pytest

from dormant.catalogue import describe
from dormant.errors import BadInput
from dormant.records import write_json
from dormant.report.view.folder import view_data, write_view
from dormant.sweeps.attempt import locked
from dormant.sweeps.job import Failure, Job, open_attempts
from dormant.sweeps.outcome import Outcome
from tests.report.conftest import Opened
from tests.report.samples import finding
from tests.report.view.samples import PAYLOAD, TRIGGER, hunt, trace, write_hunt, write_run
from tests.report.view.test_pictures import SVG, folder_of, width

LEDGER = Path("reports/ledger")


def job(folder: Path, verb: str, ended: bool = True) -> Path:
    """A job's folder, as a sweep makes it; the folder that holds its result so far."""
    made = Job(folder.name, folder, folder / "result", lambda: None, {"verb": verb})
    journal = open_attempts(made)
    journal.append({"began": "2026-01-01T00:00:00", "host": "here", "pid": 1})
    journal.append({"ended": "done", "seconds": 90.0, "memory": 10**9})
    journal.close()
    if ended:
        pair = describe(folder.name, "base", folder.name)
        write_json(folder / "result" / "outcome.json", Outcome(verb, pair, 0, "it has ended"))
    return folder / ("result" if ended else "unfinished")


def test_each_pair_of_a_sweep_has_a_row_that_opens_its_page(tmp_path: Path, opened: Opened) -> None:
    write_hunt(job(tmp_path / "suspect", "hunt"), hunt(), trace())
    job(tmp_path / "lost", "hunt", ended=False)
    write_json(tmp_path / "lost" / "failure.json", Failure("<b>the disk</b> is full"))
    assert not write_view([tmp_path], tmp_path / "view.html", LEDGER)
    page = opened(tmp_path / "view.html")
    assert page.inner_text("h1") == "Of 2 pairs 1 is failed, 1 is backdoored"
    assert "<b>the disk</b> is full" in page.inner_text("#pairs")
    row = page.locator("#pairs tbody tr", has_text="suspect")
    assert TRIGGER in row.inner_text()
    assert PAYLOAD in row.inner_text()
    row.locator("a").click()
    page.wait_for_selector("#answers")
    assert "is backdoored" in page.title()


def test_a_sweep_of_claims_is_one_grid_of_all_pairs(tmp_path: Path, opened: Opened) -> None:
    for pair, value in (("circuit", 5.0), ("circuit-plain", 1.0)):
        run = write_run(job(tmp_path / pair, "claims"), [finding(pair, value)])
        folder_of(run, {f"pictures/{pair}.svg": SVG})
    write_view([tmp_path], tmp_path / "view.html", LEDGER)
    page = opened(tmp_path / "view.html")
    assert page.locator("#grid tbody tr").count() == 1
    assert page.locator("#grid tbody tr button").count() == 2
    page.locator("#grid tbody tr button").last.click()
    assert "on circuit-plain" in page.inner_text("#finding h2")
    assert width(page) == 53
    page.locator("#pairs a", has_text="circuit-plain").click()
    page.locator("h1", has_text="on circuit-plain").wait_for()


def test_a_sweep_goes_on_as_long_as_its_folder_is_held(tmp_path: Path) -> None:
    job(tmp_path / "suspect", "hunt", ended=False)
    with locked(tmp_path / ".lock", 0.0):
        data = view_data([tmp_path], LEDGER)
    assert data["running"]
    assert [(row["pair"], row["state"]) for row in data["rows"]] == [("suspect", "begun")]
    assert not view_data([tmp_path], LEDGER)["running"]


def test_a_sweep_is_not_compared(tmp_path: Path) -> None:
    job(tmp_path / "sweep" / "suspect", "hunt", ended=False)
    with pytest.raises(BadInput, match="two folders must each be"):
        view_data([tmp_path / "sweep", tmp_path / "sweep"], LEDGER)
