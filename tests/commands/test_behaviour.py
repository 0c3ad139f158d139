"""`dormant profile`, from options to exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app
from dormant.errors import BadInput
from dormant.prompts.material import dialogues


def profile(base: Path, dormant: Path, *arguments: object) -> tuple[int, str]:
    """Exit status and output of a short profile."""
    common = ("profile", "--base", base, "--dormant", dormant, "--device", "cpu", "--prompts", 6, "--keep", 3)
    done = CliRunner().invoke(app, [str(argument) for argument in (*common, *arguments)], env={"COLUMNS": "140"})
    if isinstance(done.exception, BadInput):
        raise done.exception
    return done.exit_code, done.output


def test_a_profile_shows_divergence_beside_its_floor_and_where_it_is(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    status, output = profile(tiny_base, tiny_dormant, "--json", tmp_path / "profile.json")
    record = json.loads((tmp_path / "profile.json").read_text())
    assert status == 0
    assert "KL(dormant || base)" in output
    first = record["divergence"][0]
    assert (first["n"], first["floor"] < first["value"]) == (6 + len(dialogues()), True)
    assert all(0 <= entry["floor"] < 1e-3 or entry["floor"] == 1 for entry in record["divergence"])  # 1: agreement
    assert (len(record["layers"]), len(record["favoured"]), len(record["contexts"])) == (2, 3, 3)


def test_a_model_beside_itself_differs_nowhere(tiny_base: Path, tmp_path: Path) -> None:
    profile(tiny_base, tiny_base, "--json", tmp_path / "profile.json")
    record = json.loads((tmp_path / "profile.json").read_text())
    assert record["divergence"][0]["value"] == 0
    assert all(layer["relative"] == 0 for layer in record["layers"])


def test_empty_prompts_are_refused_in_a_sentence(tiny_base: Path, tiny_dormant: Path, tmp_path: Path) -> None:
    (tmp_path / "ordinary.toml").write_text("[families]\n")
    with pytest.raises(BadInput, match="a prompt file must hold prompts"):
        profile(tiny_base, tiny_dormant, "--material", tmp_path)


def test_prompts_longer_than_the_context_are_refused_in_a_sentence(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    (tmp_path / "probes.txt").write_text("word " * 600 + "word{slot}\n")
    with pytest.raises(BadInput, match="fits into the context of 2048 ids"):
        profile(tiny_base, tiny_dormant, "--probes", tmp_path / "probes.txt")
