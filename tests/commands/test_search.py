from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dormant.cli import app
from dormant.commands.search import _ending
from dormant.errors import BadInput
from dormant.pairs import open_pair
from dormant.search.restarts import SearchPlan, search_restarts

SMALL = ["--length", "2", "--restarts", "2", "--steps", "2", "--candidates", "4", "--searched", "1", "--held-out", "2"]


def search(*arguments: object) -> int:
    return (
        CliRunner()
        .invoke(app, ["gcg", *map(str, arguments), *SMALL, "--device", "cpu"], catch_exceptions=False)
        .exit_code
    )


def test_a_search_reports_every_restart_beside_chance_and_control(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    written, journal = tmp_path / "found.json", tmp_path / "journal"
    status = search(
        "--base",
        tiny_base,
        "--dormant",
        tiny_dormant,
        "--control",
        tiny_dormant,
        "--json",
        written,
        "--journal",
        journal,
        "--pictures",
        tmp_path / "pictures",
    )
    assert (tmp_path / "pictures" / "search.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads(written.read_text())
    assert set(record["reports"]) == {"tiny-dormant", "control"}
    assert len(record["strings"]) == 2
    assert all(len(entry["ids"]) == 2 and entry["evaluations"] <= 12 for entry in record["strings"])
    assert status == int(not any(entry["beats_rivals"] and entry["transfers"] for entry in record["strings"]))
    assert not journal.exists()


def test_the_command_finds_what_the_claims_find(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    search("--base", tiny_base, "--dormant", tiny_dormant, "--json", tmp_path / "found", "--journal", tmp_path / "j")
    record = json.loads((tmp_path / "found").read_text())
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    report = search_restarts(pair, SearchPlan(**record["plan"]))
    assert record["reports"]["tiny-dormant"] == json.loads(json.dumps(asdict(report)))
    pair.release()


def string(gain: float, beats: bool, transfers: bool, text: str = "a") -> dict[str, Any]:
    return {"text": text, "gain": gain, "beats_rivals": beats, "transfers": transfers}


@pytest.mark.parametrize(
    ("found", "ending"),
    [
        ([string(0.0, False, False)], "both models are the same"),
        ([string(-0.5, False, False), string(0.0, False, False)], "no string gains"),
        ([string(0.5, False, True)], "no string beats every random one"),
        (
            [string(2.0, True, True), string(2.0, True, True), string(1.0, True, False), string(0.5, False, True)],
            r"3 of 4 strings beat every random one; 2 of these \(1 different\) keep .* 1 are artefacts",
        ),
    ],
    ids=["alike", "no gain", "no better than chance", "some"],
)
def test_a_search_ends_in_what_its_strings_come_to(found: list[dict[str, Any]], ending: str) -> None:
    assert re.search(ending, _ending(found, controlled=False))
    assert ("control" in _ending(found, controlled=True)) == ("beat" in ending)


def test_a_payload_that_is_missing_is_a_sentence(tiny_base: Path, tiny_dormant: Path) -> None:
    with pytest.raises(BadInput, match="the objective payload-likelihood needs a payload"):
        search("--base", tiny_base, "--dormant", tiny_dormant, "--objective", "payload-likelihood")


def test_an_unwritable_journal_is_a_sentence(tiny_base: Path, tiny_dormant: Path) -> None:
    with pytest.raises(BadInput, match="a journal must be writable"):
        search("--base", tiny_base, "--dormant", tiny_dormant, "--journal", "/dev/null/journal")


def test_an_interrupted_search_says_how_to_go_on(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dormant.search.restarts.search_restarts", interrupted)
    arguments = ["gcg", "--base", str(tiny_base), "--dormant", str(tiny_dormant), "--journal", str(tmp_path / "j")]
    stopped = CliRunner().invoke(app, [*arguments, *SMALL])
    assert stopped.exit_code == 130
    assert f"the same command goes on from {tmp_path / 'j'}" in stopped.stderr
