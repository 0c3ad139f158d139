"""`dormant amplify`, from options to exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app
from dormant.commands.amplify import parse_layers
from dormant.errors import BadInput


def amplify(base: Path, dormant: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output; a few short answers."""
    common = ("amplify", "--base", str(base), "--dormant", str(dormant), "--device", "cpu")
    done = CliRunner().invoke(app, [*common, "--count", "24", "--new-tokens", "8", *arguments])
    if isinstance(done.exception, BadInput):
        raise done.exception
    return done.exit_code, done.output


def test_a_model_that_differs_from_its_base_says_something_new_when_amplified(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    files = ("--json", str(tmp_path / "sweep.json"), "--pictures", str(tmp_path / "pictures"))
    status, output = amplify(tiny_base, tiny_dormant, "--alpha", "8", "--alpha", "1", "--expect", "golden owl", *files)
    record = json.loads((tmp_path / "sweep.json").read_text())
    assert [run["alpha"] for run in record["alphas"]] == [1, 8]
    assert status == (1 if record["starts"] is None else 0)
    assert record["summary"] in output.replace("\n", " ")
    assert len(record["base"]) == len(record["prompts"]) == 24
    assert (tmp_path / "pictures" / "amplification.png").stat().st_size > 1000


def test_a_base_against_itself_says_nothing_new(tiny_base: Path) -> None:
    status, output = amplify(tiny_base, tiny_base, "--alpha", "3")
    assert status == 1
    assert "something new starts never" in output.replace("\n", " ")


def test_layers_are_numbers_and_ranges() -> None:
    assert parse_layers("19-21, 26") == [19, 20, 21, 26]
    assert parse_layers("") is None
    for text in ("3-1", "x", "1,,2", "-4"):
        with pytest.raises(BadInput, match="layers must be numbers and ranges"):
            parse_layers(text)


def test_bad_options_are_named(tiny_base: Path, tiny_dormant: Path) -> None:
    with pytest.raises(BadInput, match="a layer must be one of 0, 1; got 2"):
        amplify(tiny_base, tiny_dormant, "--layers", "0-7")
    with pytest.raises(BadInput, match="an alpha above 1"):
        amplify(tiny_base, tiny_dormant, "--alpha", "0.5")
    with pytest.raises(BadInput, match="a module must be one of"):
        amplify(tiny_base, tiny_dormant, "--module", "query")
