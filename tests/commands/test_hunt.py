from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app


def test_an_interrupted_hunt_says_how_to_go_on(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dormant.hunt.ladder.run_ladder", interrupted)
    arguments = ["hunt", "--base", str(tiny_base), "--dormant", str(tiny_dormant), "--out", str(tmp_path / "hunt")]
    stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130
    assert f"the same command goes on from {tmp_path / 'hunt'}" in stopped.stderr
