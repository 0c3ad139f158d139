from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from dormant.calibration import run
from dormant.calibration.outcomes import read_outcomes, subjects_of
from dormant.calibration.run import calibrate
from tests.calibration.test_page import outcome


def test_what_has_an_outcome_is_not_hunted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = outcome("words-three")
    (tmp_path / "words-three.json").write_text(json.dumps(asdict(known)))
    monkeypatch.setattr(run, "_calibrate_one", lambda *_: pytest.fail("hunted again"))
    subjects = subjects_of(names=["words-three", "words-three-plain"])
    calibrate(subjects[:1], tmp_path / "work", tmp_path, 1.0, 1)
    assert read_outcomes(subjects, tmp_path) == [known]
