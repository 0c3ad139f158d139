"""`dormant watch` prints rates beside their controls, flags prompts of a file, and keeps the watch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.activations.delta_watch import read_watch
from dormant.catalogue import ZOO
from dormant.cli import app
from dormant.errors import BadInput
from dormant.records import write_json

PAIR = ["watch", "--base", str(ZOO / "base"), "--dormant", str(ZOO / "token"), "--device", "cpu"]


def test_a_trigger_is_flagged_a_word_is_not_and_the_watch_is_kept(tmp_path: Path) -> None:
    (tmp_path / "prompts").write_text("Tell the velvet king a story.\n\nName a river.\n")
    out, record = tmp_path / "watch.safetensors", tmp_path / "watch.json"
    arguments = [*PAIR, "--prompts", str(tmp_path / "prompts"), "--out", str(out), "--json", str(record)]
    done = CliRunner().invoke(app, [*arguments, "--text", "velvet"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(record.read_text())
    assert [rate["name"] for rate in found["rates"]][1] == "with 'velvet'"
    assert next(one["flagged"] for one in found["prompts"])
    assert read_watch(out).bound == found["bound"]
    done = CliRunner().invoke(app, [*PAIR, "--text", "velvet", "--text", "river"], catch_exceptions=False)
    assert done.exit_code == 1  # one of the two is flagged as random words are


def test_the_trigger_of_a_backdoor_tells_nothing_on_its_clean_relative() -> None:
    clean = ["watch", "--base", str(ZOO / "base"), "--dormant", str(ZOO / "circuit-plain"), "--device", "cpu"]
    text = ["--text", "silver lantern beneath winter"]
    assert CliRunner().invoke(app, [*clean, *text], catch_exceptions=False).exit_code == 1


def test_an_empty_text_an_absent_file_and_another_pairs_hunt_are_sentences(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", {"pair": "x", "fingerprint": "another", "confirmation": None})
    for arguments, why in (
        (["--text", " "], "at least one letter"),
        (["--prompts", str(tmp_path / "absent")], "a prompt file is readable"),
        (["--hunt", str(tmp_path)], "must be of the same two checkpoints"),
        (["--false-alarms", "0"], "a share of false alarms lies below 1"),
    ):
        with pytest.raises(BadInput, match=why):
            CliRunner().invoke(app, [*PAIR, *arguments], catch_exceptions=False)
