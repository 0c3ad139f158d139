from __future__ import annotations

from pathlib import Path

import torch

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.layer0 import read_layer0_pair
from dormant.layer0.pair import shuffled_delta


def test_a_shuffled_delta_has_the_same_entries_elsewhere(tiny_base: Path, tiny_dormant: Path) -> None:
    pair = read_layer0_pair(open_checkpoint(tiny_base), open_checkpoint(tiny_dormant))
    other = shuffled_delta(pair, seed=0)
    delta, moved = (found.dormant.query_weight - found.base.query_weight for found in (pair, other))
    assert torch.allclose(delta.flatten().sort().values, moved.flatten().sort().values, atol=1e-12)
    assert not torch.allclose(delta, moved)
    assert torch.equal(other.dormant.key_weight, pair.base.key_weight)  # an unchanged tensor stays so
    assert torch.equal(other.dormant.query_weight, shuffled_delta(pair, seed=0).dormant.query_weight)
