"""Options that several commands share: what cannot be written is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app
from dormant.errors import BadInput

PAIR = ("--base", "nowhere", "--dormant", "nowhere")  # no command gets so far as to miss them
COMMANDS = (
    ("profile", *PAIR), ("amplify", *PAIR), ("diff", *PAIR), ("gcg", *PAIR), ("scan", *PAIR), ("beam", *PAIR),
    ("score", *PAIR, "--text", "apple"), ("hunt", *PAIR, "--out", "nowhere"), ("bases", "nowhere", "--dormant", "nowhere"),
    ("organisms", "list"), ("organisms", "verify", "nowhere"), ("organisms", "build", "nowhere", "--out", "nowhere"),
)  # fmt: skip


def refused(*arguments: object) -> str:
    """The sentence with which a command refuses."""
    error = CliRunner().invoke(app, [str(argument) for argument in arguments]).exception
    assert isinstance(error, BadInput)
    return str(error)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_a_file_that_cannot_be_written_is_refused_before_any_work(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, found in ((tmp_path, "Is a directory"), (tmp_path / "file" / "out.json", "Not a directory")):
        expected = f"the file must be writable; got {found} at {path}; name another with --json"
        assert refused(*command, "--json", path) == expected


@pytest.mark.parametrize("command", ["amplify", "diff"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sentence = refused(command, *PAIR, "--pictures", tmp_path / "file")
    assert sentence.startswith("the folder must be writable; got Not a directory at")
    assert sentence.endswith("name another with --pictures")


def test_the_trial_keeps_what_was_there_and_leaves_nothing_new(tmp_path: Path) -> None:
    old, link = tmp_path / "old.json", tmp_path / "link.json"
    old.write_text("old")
    link.symlink_to(tmp_path / "missing.json")
    for path in (old, link, tmp_path / "new.json", os.devnull):
        assert "must be writable" not in refused("diff", *PAIR, "--json", path)
    assert old.read_text() == "old"
    assert {entry.name for entry in tmp_path.iterdir()} == {"old.json", "link.json"}


def test_the_folder_of_a_file_is_made(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["organisms", "list", "--json", str(tmp_path / "new" / "list.json")])
    assert done.exit_code == 0
    assert (tmp_path / "new" / "list.json").read_text().startswith("[")
