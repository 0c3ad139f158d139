from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app
from dormant.commands.hunt import ending_early
from dormant.hunt.clock import Clock
from dormant.hunt.settings import HuntSettings
from tests.calibration.test_page import outcome


def test_an_interrupted_hunt_says_how_to_go_on(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dormant.hunt.pipeline.run_hunt", interrupted)
    arguments = ["hunt", "--base", str(tiny_base), "--dormant", str(tiny_dormant), "--out", str(tmp_path / "hunt")]
    stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130
    assert f"the same command goes on from {tmp_path / 'hunt'}" in stopped.stderr


def test_a_table_of_what_was_hunted_has_rates_on_the_terminal_and_pictures_beside_it(tmp_path: Path) -> None:
    (tmp_path / "words-three.json").write_text(json.dumps(asdict(outcome("words-three"))))
    shown = CliRunner().invoke(app, ["calibrate", "--table", "--results", str(tmp_path)], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "payload recovered" in shown.stdout
    assert ".png" not in shown.stdout
    assert "1 of 48 subjects" in shown.stdout
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all(f"]({file.name})" in page for file in tmp_path.glob("*.png"))


def test_ctrl_c_makes_a_hunt_end_with_what_it_has_found_and_a_second_one_at_once() -> None:
    clock, before = Clock(HuntSettings().effort), signal.getsignal(signal.SIGINT)
    with ending_early(clock):
        with pytest.raises(KeyboardInterrupt):  # before any hunt there is nothing to end
            signal.raise_signal(signal.SIGINT)
        assert not clock.late()
        signal.raise_signal(signal.SIGINT)
        assert clock.late()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
