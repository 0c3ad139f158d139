"""Written checkpoints hold the named tensors of their base, all others as they were, and are read back as what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.checkpoints.checkpoint import Checkpoint, open_checkpoint
from dormant.checkpoints.restored import write_restored
from dormant.errors import BadInput
from dormant.pairs import open_pair
from tests.builders import build_adapter

DOWN = ("model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight")


def check_restored(written: Checkpoint, dormant: Checkpoint, base: Checkpoint, restored: str) -> None:
    assert written.names == dormant.names
    for name in dormant.names:
        wanted = base if name == restored else dormant
        torch.testing.assert_close(written.tensor(name).float(), wanted.tensor(name).float(), rtol=0, atol=0)


def test_whole_weights_are_written_with_a_tensor_of_the_base(
    tiny_base: Path, tiny_dormant: Path, tmp_path: Path
) -> None:
    base, dormant = open_checkpoint(tiny_base), open_checkpoint(tiny_dormant)
    write_restored(dormant, base, DOWN[:1], tmp_path / "new")
    written = open_checkpoint(tmp_path / "new")
    check_restored(written, dormant, base, DOWN[0])
    assert written.tokenizer.get_vocab() == dormant.tokenizer.get_vocab()


def test_an_adapter_stays_one_and_changes_a_restored_matrix_by_nothing(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, target_modules=["down_proj", "q_proj"])
    pair = open_pair("pair", str(tiny_base), str(tmp_path / "adapter"), "cpu")
    write_restored(pair.dormant, pair.base, DOWN[1:], tmp_path / "new")
    written = open_pair("new", str(tiny_base), str(tmp_path / "new"), "cpu").dormant
    check_restored(written, pair.dormant, pair.base, DOWN[1])


def test_a_folder_that_is_there_and_an_adapter_that_is_more_than_factors_are_refused(
    tiny_base: Path, tmp_path: Path
) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, target_modules=["down_proj"], use_dora=True)
    pair = open_pair("pair", str(tiny_base), str(tmp_path / "adapter"), "cpu")
    with pytest.raises(BadInput, match="merge the adapter into its base first"):
        write_restored(pair.dormant, pair.base, DOWN, tmp_path / "new")
    with pytest.raises(BadInput, match="a folder of its own"):
        write_restored(pair.dormant, pair.base, DOWN, tmp_path / "adapter")
