from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def dormant(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dormant.cli", *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_zoo_is_listed_for_people_and_machines(tmp_path: Path) -> None:
    done = dormant("organisms", "list", "--json", str(tmp_path / "list.json"))
    assert done.returncode == 0
    assert "circuit-plain" in done.stdout
    assert {entry["pair"] for entry in json.loads((tmp_path / "list.json").read_text())} >= {"circuit", "pi", "sham"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("organisms", "verify", "nobody"), "an organism must be one of the zoo"),
        (("organisms", "verify", "sham"), "only a planted trigger can be verified"),
        (("organisms", "build", "nowhere.toml", "--out", "x"), "a recipe must be a readable file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_two(arguments: tuple[str, ...], sentence: str) -> None:
    done = dormant(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dormant: {sentence}")
    assert len(done.stderr.strip().splitlines()) == 1
