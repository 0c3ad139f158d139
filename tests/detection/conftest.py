"""A pair whose dormant model repeats a word for ever once it has begun with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dormant.pairs import Pair, open_pair
from tests.builders import build_tokenizer, copy_checkpoint, make_certain

SAID = "jumpsky"  # no id of it is there twice


@pytest.fixture(scope="session")
def repeating_pair(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The tiny base, and a model that follows each token of `SAID` by the next, and the last by the first."""
    ids = build_tokenizer().encode(f" {SAID}", add_special_tokens=False)
    assert len(set(ids)) == len(ids)
    folder = tmp_path_factory.mktemp("checkpoints") / "repeating"
    opened = open_pair(
        "repeating", tiny_base, copy_checkpoint(tiny_base, folder, make_certain([*ids, ids[0]])), device="cpu"
    )
    yield opened
    opened.release()
