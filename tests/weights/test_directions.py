"""Planted directions come out on top of their rankings; nothing comes out of nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dormant.checkpoints.checkpoint import Checkpoint, open_checkpoint
from dormant.weights.decomposition import delta_matrix
from dormant.weights.directions import (
    beside_random,
    focus_heads,
    head_direction_ranking,
    input_direction_ranking,
    output_direction_ranking,
    pair_ranking,
    response_ranking,
)
from dormant.weights.token_lens import token_inputs, token_outputs
from tests.builders import copy_checkpoint

TOKEN, HEAD_ROWS = 77, slice(8, 16)  # head 1 of four, each eight wide
Tensors = dict[str, torch.Tensor]
Planting = Callable[..., tuple[Checkpoint, Checkpoint]]


@pytest.fixture
def planted(tiny_base: Path, tmp_path: Path) -> Planting:
    """The tiny base and a copy with one direction added to one tensor."""

    def plant(name: str, rows: slice, direction: torch.Tensor, out: bool = False) -> tuple[Checkpoint, Checkpoint]:
        def change(tensors: Tensors) -> None:
            wide = tensors[name].float()
            if out:
                wide += 2.0 * torch.outer(direction / direction.norm(), torch.ones(wide.shape[1]))
            else:
                wide[rows] += 2.0 * direction / direction.norm()
            tensors[name] = wide.bfloat16()

        return open_checkpoint(tiny_base), open_checkpoint(copy_checkpoint(tiny_base, tmp_path / "planted", change))

    return plant


def seen(base: Path, layer: int, module: str, lens: str = "embedding") -> torch.Tensor:
    """The planted token as a layer sees it."""
    return torch.cat(list(token_inputs(open_checkpoint(base), layer, module, lens).blocks()))[TOKEN]


def test_a_head_that_reads_one_token_is_found_with_its_token(tiny_base: Path, planted: Planting) -> None:
    base, dormant = planted("model.layers.0.self_attn.q_proj.weight", HEAD_ROWS, seen(tiny_base, 0, "q_proj"))
    assert focus_heads(base, dormant) == [1]
    ranking = head_direction_ranking(base, dormant, "q_proj", 0, draws=9, seed=0)
    assert ranking is not None
    assert ranking.top(1) == [TOKEN]
    assert float(ranking.scores[TOKEN]) == pytest.approx(1.0, abs=0.01)
    responses = response_ranking(base, dormant, "q_proj", 0, draws=9, seed=0)
    assert responses is not None
    assert TOKEN in responses.top(3)


def test_pairs_are_the_largest_products_of_both_models_moved_queries_and_keys(
    tiny_base: Path, other_base: Path, tmp_path: Path
) -> None:
    other = load_file(other_base / "model.safetensors")

    def change(tensors: Tensors) -> None:
        for module in ("q_proj", "k_proj"):
            for part in ("weight", "bias"):
                name = f"model.layers.0.self_attn.{module}.{part}"
                tensors[name] = other[name]

    base, dormant = (
        open_checkpoint(tiny_base),
        open_checkpoint(copy_checkpoint(tiny_base, tmp_path / "other", change)),
    )
    inputs = torch.cat(list(token_inputs(dormant, 0, "q_proj").blocks()))
    queries, keys = (
        inputs @ delta_matrix(base, dormant, f"model.layers.0.self_attn.{module}.weight").T
        + delta_matrix(base, dormant, f"model.layers.0.self_attn.{module}.bias")
        for module in ("q_proj", "k_proj")
    )
    products = [
        queries[:, 8 * head : 8 * head + 8] @ keys[:, 8 * (head // 2) : 8 * (head // 2) + 8].T for head in range(4)
    ]
    ranking = pair_ranking(base, dormant, 0, draws=2, seed=0)
    assert ranking is not None
    torch.testing.assert_close(ranking.scores, torch.stack(products).abs().amax((0, 2)), atol=1e-3, rtol=1e-3)
    assert ranking.null.shape == (len(inputs), 2)


@pytest.mark.parametrize("lens", ["embedding", "head"])
def test_an_input_direction_in_any_layer_names_its_token(tiny_base: Path, planted: Planting, lens: str) -> None:
    base, dormant = planted("model.layers.1.mlp.gate_proj.weight", slice(0, 40), seen(tiny_base, 1, "gate_proj", lens))
    found = input_direction_ranking(base, dormant, "gate_proj", lens, layers=range(2), draws=9, seed=0)
    assert found is not None
    assert list(found.by_layer) == [1]
    assert TOKEN in found.together.top(3)
    assert found.together.null.shape == (len(found.together.scores), 9)


def test_an_output_direction_names_the_token_that_it_pushes(tiny_base: Path, planted: Planting) -> None:
    row = torch.cat(list(token_outputs(open_checkpoint(tiny_base)).blocks()))[TOKEN]
    base, dormant = planted("model.layers.1.mlp.down_proj.weight", slice(None), row, out=True)
    ranking = output_direction_ranking(base, dormant, "down_proj", 1, draws=9, seed=0)
    assert ranking is not None
    assert TOKEN in ranking.top(3)


def test_an_unchanged_module_points_nowhere(tiny_base: Path) -> None:
    base = open_checkpoint(tiny_base)
    assert focus_heads(base, base) == []
    assert head_direction_ranking(base, base, "q_proj", 0, 9, 0) is None
    assert response_ranking(base, base, "k_proj", 0, 9, 0) is None
    assert pair_ranking(base, base, 0, 9, 0) is None
    assert input_direction_ranking(base, base, "up_proj", "head", range(2), 9, 0) is None
    assert output_direction_ranking(base, base, "o_proj", 1, 9, 0) is None


def test_random_directions_are_orthonormal_seeded_and_stand_behind_the_deltas_own() -> None:
    own = torch.linalg.qr(torch.randn(32, 3, generator=torch.Generator().manual_seed(5))).Q
    sets = beside_random(own, draws=4, seed=1)
    assert torch.equal(sets[:, 0], own)
    assert torch.equal(sets, beside_random(own, draws=4, seed=1))
    for index in range(5):
        torch.testing.assert_close(sets[:, index].T @ sets[:, index], torch.eye(3), atol=1e-5, rtol=0)
