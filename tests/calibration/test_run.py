from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from dormant.calibration import run
from dormant.calibration.outcomes import Subject, read_outcomes, subjects_of
from dormant.calibration.run import calibrate
from dormant.errors import BadInput
from dormant.records import write_json
from tests.calibration.test_page import outcome


def hunt_none_but_the_backdoored(subject: Subject, work: Path, results: Path, minutes: float) -> None:
    """In place of a hunt, in a process of its own."""
    if not subject.backdoored:
        raise BadInput("a clean model must be there; got none")
    write_json(results / f"{subject.name}.json", outcome(subject.name))


def test_a_subject_that_fails_stops_no_other_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_calibrate_one", hunt_none_but_the_backdoored)
    subjects, told = subjects_of(names=["words-three-plain", "words-three"]), list[int]()
    with pytest.raises(BadInput, match=r"got none of 1: words-three-plain: a clean model must be there; got none; the"):
        calibrate(subjects, tmp_path / "work", tmp_path, 1.0, 1, lambda done, total, remark="": told.append(done))
    assert told == [1, 2]
    assert [one.name for one in read_outcomes(subjects, tmp_path)] == ["words-three"]


def test_what_has_an_outcome_is_not_hunted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = outcome("words-three")
    (tmp_path / "words-three.json").write_text(json.dumps(asdict(known)))
    monkeypatch.setattr(run, "_calibrate_one", lambda *_: pytest.fail("hunted again"))
    subjects = subjects_of(names=["words-three", "words-three-plain"])
    calibrate(subjects[:1], tmp_path / "work", tmp_path, 1.0, 1)
    assert read_outcomes(subjects, tmp_path) == [known]
