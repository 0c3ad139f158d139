"""Memory: what cannot fit is refused before anything is loaded, with the settings under which it would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.checkpoints import memory
from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.checkpoints.models import Models, RunConfig
from dormant.errors import BadInput
from tests.builders import build_adapter


def bytes_of(model: torch.nn.Module) -> int:
    """What a model's parameters take."""
    return sum(parameter.nbytes for parameter in model.parameters())


def test_the_estimate_is_what_the_parameters_take(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, target_modules="all-linear", modules_to_save=["norm"])
    base, adapter = open_checkpoint(tiny_base), open_checkpoint(tmp_path / "adapter")
    whole = [bytes_of(load_model(checkpoint, "cpu", torch.float32)) for checkpoint in (base, adapter)]
    assert memory.needed_bytes(base, adapter, torch.float32, "both") == sum(whole)
    assert memory.needed_bytes(base, adapter, torch.bfloat16, "swap") == max(whole) // 2
    shared = Models(base, adapter, RunConfig(torch.device("cpu"), torch.float32, "shared")).dormant()
    assert memory.needed_bytes(base, adapter, torch.float32, "shared") == bytes_of(shared)


@pytest.mark.parametrize(
    ("share", "advice"),
    [
        (1.9, "use --residency shared --dtype float32"),
        (1.1, "use --residency swap --dtype float32"),
        (0.7, "use --residency shared --dtype bfloat16"),
        (0.51, "use --residency swap --dtype bfloat16"),
        (0.3, "use a device with more memory"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(
    share: float, advice: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, target_modules="all-linear")
    base, adapter = open_checkpoint(tiny_base), open_checkpoint(tmp_path / "adapter")
    one = memory.needed_bytes(base, adapter, torch.float32, "swap")
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(share * one))
    models = Models(base, adapter, RunConfig(torch.device("cpu"), torch.float32, "both"))
    with pytest.raises(
        BadInput, match=rf"must fit the memory of cpu; got weights of .* under residency both.*; {advice}$"
    ):
        models.base()


def test_free_memory_is_a_number_of_this_machine() -> None:
    assert 0 < memory.free_bytes(torch.device("cpu")) < 2**50
