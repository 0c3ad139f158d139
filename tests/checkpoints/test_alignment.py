from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.checkpoints.alignment import share_rows
from dormant.checkpoints.checkpoint import open_checkpoint
from tests.checkpoints.situations import EMBEDDING, copied, padded


@pytest.mark.parametrize("swapped", [False, True])
def test_vocabularies_are_cut_to_the_rows_that_both_have(swapped: bool, tiny_base: Path, tmp_path: Path) -> None:
    longer = copied(tiny_base, tmp_path / "longer", padded(320))
    first, second = (open_checkpoint(path) for path in ((longer, tiny_base) if swapped else (tiny_base, longer)))
    *both, notes = share_rows(first, second)
    assert [one.catalogue[EMBEDDING].shape[0] for one in both] == [304, 304]
    assert torch.equal(both[0].tensor(EMBEDDING), both[1].tensor(EMBEDDING))
    assert "share 304 rows" in notes[0]
