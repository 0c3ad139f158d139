"""Scaling a delta inside the loaded model: exact at both ends, and gone afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.checkpoints.adapters import adapted_parameter
from dormant.checkpoints.checkpoint import load_model
from dormant.errors import BadInput
from dormant.inference.delta_scaling import block_scales, modified_tensors, patched_weights, with_own_weights
from dormant.pairs import Pair, open_pair
from tests.builders import build_adapter

IDS = torch.tensor([[5, 9, 33, 120, 7]])
QUERY = "model.layers.0.self_attn.q_proj.weight"


def same_weights(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two models hold the same bits."""
    theirs = dict(other.named_parameters())
    return all(torch.equal(parameter, theirs[name]) for name, parameter in model.named_parameters())


def test_dropping_the_whole_delta_gives_the_base_and_leaving_gives_the_dormant_model_back(tiny_pair: Pair) -> None:
    untouched = load_model(tiny_pair.dormant, "cpu", torch.float32)
    with patched_weights(tiny_pair, block_scales(tiny_pair, 0)) as model:
        assert same_weights(model, tiny_pair.models.base())
    assert same_weights(tiny_pair.models.dormant(), untouched)


def test_a_kept_block_is_dormant_and_the_rest_is_base(tiny_pair: Pair) -> None:
    with patched_weights(tiny_pair, block_scales(tiny_pair, 1, layers=[1], elsewhere=0)) as model:
        for name, parameter in model.named_parameters():
            source = tiny_pair.dormant if ".layers.1." in name else tiny_pair.base
            assert torch.equal(parameter, source.tensor(name).float()), name


def test_an_amplified_delta_is_the_formula(tiny_pair: Pair) -> None:
    base, dormant = (checkpoint.tensor(QUERY).double() for checkpoint in (tiny_pair.base, tiny_pair.dormant))
    with patched_weights(tiny_pair, {QUERY: 3.0}) as model:
        torch.testing.assert_close(model.get_parameter(QUERY).double(), base + 3 * (dormant - base))


def test_a_mask_scales_single_rows_exactly(tiny_pair: Pair) -> None:
    keep = torch.ones(32, 1)
    keep[:8] = 0
    with patched_weights(tiny_pair, {QUERY: keep}) as model:
        rows = model.get_parameter(QUERY)
        assert torch.equal(rows[:8], tiny_pair.base.tensor(QUERY)[:8].float())
        assert torch.equal(rows[8:], tiny_pair.dormant.tensor(QUERY)[8:].float())


def test_patches_nest(tiny_pair: Pair) -> None:
    before = tiny_pair.models.dormant()(IDS).logits
    with patched_weights(tiny_pair, block_scales(tiny_pair, 0, layers=[0])) as model:
        with patched_weights(tiny_pair, block_scales(tiny_pair, 5)):
            pass
        assert torch.equal(model.get_parameter(QUERY), tiny_pair.base.tensor(QUERY).float())
    assert torch.equal(tiny_pair.models.dormant()(IDS).logits, before)


def test_a_patch_is_undone_after_an_exception(tiny_pair: Pair) -> None:
    before = tiny_pair.models.dormant()(IDS).logits
    with pytest.raises(KeyboardInterrupt), patched_weights(tiny_pair, block_scales(tiny_pair, 0)):
        raise KeyboardInterrupt
    assert torch.equal(tiny_pair.models.dormant()(IDS).logits, before)


def test_modified_tensors_are_chosen_by_layer_and_module(tiny_pair: Pair) -> None:
    assert modified_tensors(tiny_pair, layers=[0], modules=["q_proj", "up_proj"]) == (
        "model.layers.0.mlp.up_proj.weight",
        QUERY,
    )
    assert len(modified_tensors(tiny_pair)) == 7


def test_a_bfloat16_model_is_restored_to_the_last_bit(tiny_base: Path, tiny_dormant: Path) -> None:
    pair = open_pair("tiny", tiny_base, tiny_dormant, device="cpu", dtype="bfloat16")
    with patched_weights(pair, block_scales(pair, 2.5)):
        pass
    assert all(torch.equal(p, pair.dormant.tensor(name)) for name, p in pair.models.dormant().named_parameters())


def test_one_model_with_an_adapter_is_patched_as_two_models_are(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, target_modules=["q_proj", "up_proj"], modules_to_save=["norm"])
    shared, both = (
        open_pair("x", tiny_base, tmp_path / "adapter", device="cpu", residency=residency)
        for residency in ("shared", "both")
    )
    before = shared.models.dormant()(IDS).logits
    rows = torch.ones(32, 1)
    rows[8:16] = 0
    for scales in (block_scales(both, 3.0), block_scales(both, 0.0, layers=[1]), {QUERY: rows}):
        found = []
        for pair in (shared, both):
            with patched_weights(pair, scales) as model, patched_weights(pair, {QUERY: 2.0}) as model:
                found.append(model(IDS).logits)
        torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)
        assert (found[0] - before).abs().max() > 1e-2
        assert torch.equal(shared.models.dormant()(IDS).logits, before)
    assert torch.equal(shared.models.base()(IDS).logits, both.models.base()(IDS).logits)
    with with_own_weights(shared) as model:
        parameter, _ = adapted_parameter(model, QUERY)
        assert torch.equal(parameter, shared.dormant.tensor(QUERY))
        with pytest.raises(RuntimeError, match="base was asked for while weights of the dormant model are replaced"):
            shared.models.base()


def test_impossible_scales_are_refused_in_a_sentence(tiny_pair: Pair) -> None:
    for scales in ({"model.layers.9.up": 2.0}, {QUERY: float("nan")}, {QUERY: torch.ones(7)}):
        with pytest.raises(BadInput, match="must be"), patched_weights(tiny_pair, scales):
            pass
    with pytest.raises(BadInput, match="layer must be one of 0, 1"):
        modified_tensors(tiny_pair, layers=[2])
