"""A tensor with an adapter is W + scaling up down, and its rows have DoRA's norms, in whatever pieces it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from dormant.checkpoints.adapted_tensor import AdaptedTensor, low_rank_update
from dormant.checkpoints.shards import read_blocks, read_rows, read_single_file, read_tensor, read_tiles

ROWS, COLUMNS, RANK, SCALING = 7, 5, 2, 1.75


def adapted(folder: Path, transposed: bool, dora: bool) -> tuple[AdaptedTensor, torch.Tensor]:
    """The tensor, and what it must be by naive float64 arithmetic."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (ROWS, COLUMNS), "down": (RANK, COLUMNS), "up": (ROWS, RANK), "magnitude": (ROWS,)}
    if transposed:
        shapes |= {"down": (RANK, ROWS), "up": (COLUMNS, RANK)}
    values = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(values, folder / "model.safetensors")
    stored = read_single_file(folder, "model.safetensors")
    weight, down, up, magnitude = (values[name].double() for name in shapes)
    update = SCALING * up @ down
    whole = weight + (update.T if transposed else update)
    if dora:
        whole = magnitude[:, None] * whole / whole.norm(dim=1, keepdim=True)
    base = stored["weight"]
    return AdaptedTensor(
        "weight", base.file, base.shape, base.dtype, base.offset, base, stored["down"], stored["up"], SCALING, transposed,
        stored["magnitude"] if dora else None,
    ), whole  # fmt: skip


@pytest.mark.parametrize(("transposed", "dora"), [(False, False), (True, False), (False, True)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(values=st.integers(1, ROWS * COLUMNS), axis=st.integers(0, 1))
def test_whole_in_tiles_in_blocks_and_by_rows_it_is_the_same_product(
    transposed: bool, dora: bool, values: int, axis: int, tmp_path: Path
) -> None:
    tensor, whole = adapted(tmp_path, transposed, dora)
    tiles = [tile.clone() for tile in read_tiles(tensor, torch.empty(4 * values, dtype=torch.uint8))]
    found = {
        "whole": read_tensor(tensor),
        "tiles": torch.cat(tiles).view(ROWS, COLUMNS),
        "rows": read_rows(tensor, ROWS),
        "blocks": torch.cat(list(read_blocks(tensor, axis, values)), dim=axis),
    }
    for name, read in found.items():
        torch.testing.assert_close(read.double(), whole, atol=1e-5, rtol=1e-5, msg=name)


def test_an_update_is_low_rank_but_for_rows_with_norms_of_their_own(tmp_path: Path) -> None:
    plain, _ = adapted(tmp_path, False, False)
    assert low_rank_update(plain.under, plain) is plain
    assert low_rank_update(plain.down, plain) is None
    rows_of_their_own, _ = adapted(tmp_path, False, True)
    assert low_rank_update(rows_of_their_own.under, rows_of_their_own) is None
