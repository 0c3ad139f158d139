"""Residency shared: one model that is the base and the dormant one by turns, where that is exact."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.errors import BadInput
from dormant.pairs import open_pair
from tests.builders import build_adapter

IDS = torch.tensor([[5, 9, 33, 120, 7]])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "up_proj"]},
        {"target_modules": "all-linear", "use_rslora": True, "modules_to_save": ["norm"]},
        {"target_modules": ["down_proj"], "use_dora": True},
    ],
    ids=["LoRA", "norms too", "DoRA"],
)
def test_one_model_gives_what_two_give(settings: dict[str, Any], dtype: str, tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, **settings)
    shared, both = (
        open_pair("x", tiny_base, tmp_path / "adapter", device="cpu", dtype=dtype, residency=residency)
        for residency in ("shared", "both")
    )
    for role in ("base", "dormant", "base", "dormant"):
        found, theirs = (getattr(pair.models, role)()(IDS).logits.float() for pair in (shared, both))
        assert (found - theirs).abs().max() <= (1e-5 if dtype == "float32" else 0.1) * theirs.abs().max()
    assert shared.models.base() is shared.models.dormant()
    assert not any(parameter.requires_grad for parameter in shared.models.dormant().parameters())
    held = weakref.ref(shared.models.base())
    shared.release()
    assert held() is None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"target_modules": ["q_proj"], "bias": "lora_only"}, r"biases trained in place \(bias 'lora_only'\)"),
        ({"target_modules": ["embed_tokens"]}, "a changed model.embed_tokens.weight"),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, "a changed lm_head.weight"),
    ],
)
def test_what_switching_off_does_not_undo_is_not_shared(
    settings: dict[str, Any], reason: str, tiny_base: Path, tmp_path: Path
) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, **settings)
    with pytest.raises(BadInput, match=f"shared needs an adapter .*; got {reason}.*; choose both or swap"):
        open_pair("x", tiny_base, tmp_path / "adapter", device="cpu", residency="shared")


def test_whole_weights_are_not_shared(tiny_base: Path, tiny_dormant: Path) -> None:
    with pytest.raises(BadInput, match=r"shared needs an adapter .*; got whole weights"):
        open_pair("x", tiny_base, tiny_dormant, device="cpu", residency="shared")
