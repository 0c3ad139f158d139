"""`dormant excise` refuses what is no hunt of the pair; what it writes no longer says the payload."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.catalogue import ZOO
from dormant.cli import app
from dormant.errors import BadInput
from dormant.hunt.confirmation import Looking, confirm
from dormant.hunt.placements import POSITIONS, placed_probes
from dormant.hunt.settings import HuntSettings
from dormant.pairs import open_pair
from dormant.records import write_json


def test_a_checkpoint_without_the_backdoor_is_written_and_no_longer_says_the_payload(tmp_path: Path) -> None:
    pair, settings = open_pair("token", ZOO / "base", ZOO / "token", "cpu"), HuntSettings()
    (probes,) = placed_probes(pair.probes, [(12, POSITIONS)], 0)
    found = confirm(Looking(pair, settings, 0), "velvet", probes)
    write_json(
        tmp_path / "report.json", {"pair": "token", "fingerprint": pair.fingerprint, "confirmation": asdict(found)}
    )
    arguments = ["excise", "--base", str(ZOO / "base"), "--dormant", str(ZOO / "token"), "--hunt", str(tmp_path)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "clean")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "silent: 'velvet' no longer makes the dormant model say 'golden owl under silver moon'" in done.stdout
    clean = open_pair("clean", ZOO / "base", tmp_path / "clean", "cpu")
    assert not confirm(Looking(clean, settings, 0), "velvet", probes).fires


def test_a_hunt_of_another_pair_and_one_that_found_nothing_are_refused(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    pair = open_pair("tiny", tiny_base, tiny_dormant, "cpu")
    arguments = [
        "excise",
        "--base",
        str(tiny_base),
        "--dormant",
        str(tiny_dormant),
        "--hunt",
        str(tmp_path),
        "--out",
        "new",
    ]
    for fingerprint, why in (
        ("another", "must be of the same two checkpoints"),
        (pair.fingerprint, "must have found a string"),
    ):
        write_json(tmp_path / "report.json", {"pair": "x", "fingerprint": fingerprint, "confirmation": None})
        with pytest.raises(BadInput, match=why):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
