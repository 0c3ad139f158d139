from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dormant.cli import app
from dormant.errors import BadInput
from tests.report.view.samples import hunt, trace, write_hunt


def test_the_page_stands_in_the_folder_or_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = write_hunt(tmp_path / "hunt", hunt(), trace())
    done = CliRunner().invoke(app, ["view", str(folder)])
    assert done.exit_code == 0, done.output
    assert "view.html" in done.output.replace("\n", "")
    other = tmp_path / "two.html"
    assert CliRunner().invoke(app, ["view", str(folder), str(folder), "--out", str(other)]).exit_code == 0
    assert 3e5 < (folder / "view.html").stat().st_size < 3e6
    assert '"kind":"hunts"' in other.read_text()


def test_open_shows_the_page_in_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = list[str]()
    monkeypatch.setattr(typer, "launch", shown.append)
    CliRunner().invoke(app, ["view", str(write_hunt(tmp_path, hunt(), None)), "--open"])
    assert shown == [(tmp_path / "view.html").resolve().as_uri()]


def test_a_folder_without_a_report_is_bad_input(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["view", str(tmp_path)])
    assert isinstance(done.exception, BadInput)
