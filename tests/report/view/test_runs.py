from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dormant.claims.finding import FINDINGS_SO_FAR, PromptEffects, Verdict
from dormant.claims.ledger import Ledger
from dormant.records import json_text
from dormant.report.view import runs
from dormant.report.view.folder import view_data
from dormant.report.view.runs import embedded_pictures, run_data, runs_compared
from tests.report.samples import finding, zoo_findings
from tests.report.view.samples import write_run


def test_a_run_is_shown_with_its_grid_and_what_the_ledger_has(tmp_path: Path) -> None:
    findings = zoo_findings()
    Ledger(tmp_path / "ledger" / "quick").record(findings[:1])
    data = run_data(write_run(tmp_path, findings), tmp_path / "ledger")
    assert sum(len(row["cells"]) for row in data["rows"]) == len(findings)
    assert [one is not None for one in data["ledger"]] == [True] + [False] * (len(findings) - 1)
    assert data["ledger"][0]["differences"] == []


def test_pictures_are_held_once_as_long_as_there_is_room_and_never_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name, content in {
        "run/a.png": b"0123456789",
        "run/like a.png": b"0123456789",
        "run/b.png": b"another one",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "secret.png").write_bytes(b"secret")
    places, held, left_out = embedded_pictures(
        [(run, name) for name in ("a.png", "a.png", "../secret.png", "like a.png", "gone.png", "b.png")]
    )
    assert (places, len(held)) == ({"a.png": 0, "like a.png": 0, "b.png": 1}, 2)
    assert left_out == ["../secret.png", "gone.png"]
    monkeypatch.setattr(runs, "PICTURE_BYTES", 15)
    assert embedded_pictures([(run, "a.png"), (run, "b.png"), (run, "like a.png")])[2] == ["b.png"]


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
