"""The shipped models over which methods are compared are whole, and small enough for the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormant.catalogue import CALIBRATION
from dormant.checkpoints.packed import unpacked
from dormant.pairs import read_truth

MODELS = sorted(folder for folder in CALIBRATION.iterdir() if folder.is_dir())


@pytest.mark.parametrize("folder", [pytest.param(folder, id=folder.name) for folder in MODELS])
def test_each_model_is_restored_byte_by_byte_and_says_what_it_is(folder: Path) -> None:
    assert read_truth(unpacked(folder)) == read_truth(folder)


def test_all_of_them_have_at_most_forty_megabytes() -> None:
    assert sum(file.stat().st_size for folder in MODELS for file in folder.iterdir()) < 40e6
