from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from dormant.hunt.confirmation import Confirmation
from dormant.hunt.report import found_by_hunt, hunt_pictures, markdown_page
from dormant.hunt.result import HuntResult, HuntVerdict
from dormant.hunt.stage import ScoredPieces, SearchPath
from dormant.hunt.turns import SLOT_TURNS, fingerprint_in
from dormant.pairs import Pair
from dormant.records import write_json


def test_paths_are_drawn_change_by_change_and_the_title_names_where_the_best_one_ends() -> None:
    both = [
        (ScoredPieces((" owl",), -9.0, 0.0), ScoredPieces((" marble", " owl"), odds, certain))
        for odds, certain in ((2.0, 0.9), (-3.0, 0.1))
    ]
    paths = tuple(SearchPath("the well is dry", *one) for one in zip(("start", "end"), both, strict=True))
    found = HuntResult(HuntVerdict.UNDECIDED, "no string fired", 0.1, 0.5, paths=paths)
    pictures = hunt_pictures(found)
    (axes,) = pictures["paths"].axes
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines[:2]] == [[-9.0, 2.0], [-9.0, -3.0]]
    assert "marble owl the payload's beginning is certain on 90%" in axes.get_title(loc="left") + axes.get_title()
    assert "![paths](paths.png)" in markdown_page(found, "x", pictures)


@pytest.mark.parametrize("turn", SLOT_TURNS)
def test_a_string_that_a_hunt_found_is_read_with_the_pair_in_its_turn(
    turn: str, circuit_pair: Pair, tmp_path: Path
) -> None:
    found = Confirmation("velvet", "the owl", (), (), (), None, 2)
    report = {"fingerprint": fingerprint_in(circuit_pair, turn), "confirmation": asdict(found)}
    write_json(tmp_path / "report.json", report)
    string, pair = found_by_hunt(tmp_path, circuit_pair)
    assert (string, pair.fingerprint) == (found, fingerprint_in(circuit_pair, turn))
