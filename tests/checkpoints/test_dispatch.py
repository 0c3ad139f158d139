"""Where the models of a pair go when it has several GPUs: there is none here, and the devices cpu and meta stand for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dormant.checkpoints import models as models_module
from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.checkpoints.dispatch import block_devices, check_devices, devices_of, is_dispatched
from dormant.checkpoints.memory import check_memory
from dormant.checkpoints.models import Models, RunConfig, resolve_devices
from dormant.errors import BadInput
from dormant.inference.block_delta import _called
from dormant.inference.evaluator import Evaluator
from dormant.inference.forward import PlainForward, choose_forward
from dormant.inference.objectives import Readings, kl

GPUS = tuple(torch.device("cuda", number) for number in range(4))
TWO = torch.device("meta"), torch.device("cpu")  # that no operation joins


@pytest.mark.parametrize(
    ("count", "residency", "base", "dormant"),
    [(1, "both", (0,), (0,)), (2, "both", (0,), (1,)), (4, "both", (0, 1), (2, 3)), (2, "swap", (0, 1), (0, 1)),
     (3, "shared", (0, 1, 2), (0, 1, 2))],
)  # fmt: skip
def test_each_model_has_its_half_of_the_gpus_or_all_of_them(
    count: int, residency: str, base: tuple[int, ...], dormant: tuple[int, ...]
) -> None:
    for role, expected in (("base", base), ("dormant", dormant)):
        assert devices_of(role, GPUS[:count], residency) == tuple(GPUS[number] for number in expected)


def test_a_list_of_gpus_is_read_and_each_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_devices("cuda:0, cuda:1") == GPUS[:2]
    with pytest.raises(BadInput, match="the device must be present; got 'cuda:2'"):
        resolve_devices("cuda:0,cuda:2")


@pytest.mark.parametrize(
    ("names", "residency", "bits", "sentence"),
    [
        (("cuda:0", "cuda:0"), "both", 0, "several devices must be different GPUs such as cuda:0,cuda:1"),
        (("cpu", "cuda:0"), "both", 0, "several devices must be different GPUs"),
        (("cuda", "cuda:0"), "swap", 0, "several devices must be different GPUs"),
        (("cuda:0", "cuda:1", "cuda:2"), "both", 0, "both models need as many GPUs each"),
        (("cuda:0", "cuda:1"), "swap", 4, "a model in 4 bits must be on one GPU"),
    ],
)
def test_gpus_that_cannot_be_shared_out_are_one_sentence(
    names: tuple[str, ...], residency: str, bits: int, sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        check_devices(tuple(map(torch.device, names)), residency, bits)


def test_base_and_dormant_are_loaded_on_their_own_gpus_and_a_large_model_is_dispatched_from_the_host(
    tiny_base: Path, tiny_dormant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, dispatched, real = list[Any](), list[Any](), load_model

    def load(checkpoint: Any, device: Any, *rest: Any) -> Any:
        loaded.append(str(device))
        return real(checkpoint, "cpu", *rest)

    monkeypatch.setattr(models_module, "load_model", load)
    monkeypatch.setattr(models_module, "check_memory", lambda *arguments: None)
    monkeypatch.setattr(models_module, "move_model", lambda *arguments: None)
    monkeypatch.setattr(models_module, "dispatch", lambda model, devices: dispatched.append(devices))
    opened = open_checkpoint(tiny_base), open_checkpoint(tiny_dormant)
    for count in (2, 4):
        models = Models(*opened, RunConfig(GPUS[0], torch.float32, "both", devices=GPUS[:count]))
        models.base()
        models.dormant()
    assert loaded == ["cuda:0", "cuda:1", "cpu", "cpu"]
    assert dispatched == [GPUS[:2], GPUS[2:]]


def test_blocks_are_whole_and_what_does_not_fit_is_one_sentence(tiny_base: Path) -> None:
    model = load_model(open_checkpoint(tiny_base), "cpu", torch.float32)
    whole = sum(parameter.numel() * 4 for parameter in model.parameters())
    block = sum(parameter.numel() * 4 for parameter in model.model.layers[0].parameters())
    free = {GPUS[0]: whole - block, GPUS[1]: whole}
    found = block_devices(model, GPUS[:2], free)
    layers = {name: where for name, where in found.items() if ".layers." in name}
    assert set(found.values()) == {0, 1}
    assert set(layers) >= {"model.layers.1"}
    assert all(name.removeprefix("model.layers.").isdigit() for name in layers)
    with pytest.raises(BadInput, match=r"the model's blocks must fit the GPUs; got .* on cuda:0,cuda:1; name more"):
        block_devices(model, GPUS[:2], {GPUS[0]: block, GPUS[1]: block})


def test_a_model_that_does_not_fit_its_own_gpu_is_named(
    tiny_base: Path, tiny_dormant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = {GPUS[0]: 10**9, GPUS[1]: 10}
    monkeypatch.setattr("dormant.checkpoints.memory.free_bytes", room.__getitem__)
    config = RunConfig(GPUS[0], torch.float32, "both", devices=GPUS[:2])
    with pytest.raises(BadInput, match=r"the dormant model must fit the memory of cuda:1; got weights of .* more GPUs"):
        check_memory(open_checkpoint(tiny_base), open_checkpoint(tiny_dormant), config)


def test_a_dispatched_model_runs_by_its_own_forward_pass_alone(tiny_base: Path) -> None:
    model: Any = load_model(open_checkpoint(tiny_base), "cpu", torch.float32)
    ids = [1, 2, 3, 4]
    assert choose_forward(model, ids) is not PlainForward
    model.hf_device_map = {"model": 0, "lm_head": 1}
    assert is_dispatched(model)
    assert choose_forward(model, ids) is PlainForward


def test_readings_of_models_on_two_gpus_meet_on_one() -> None:
    def readings(gpu: int, candidates: int) -> Readings:
        return Readings(torch.zeros(2, candidates, 7, device=TWO[gpu]), None, None)

    both = {role: readings(gpu, 3) for gpu, role in enumerate(("dormant", "base"))}
    empty = {role: readings(gpu, 1) for gpu, role in enumerate(("dormant", "base"))}
    evaluator: Any = SimpleNamespace(objective=kl(), _empty=empty)
    assert Evaluator.value(evaluator, both).device == TWO[0]


def test_a_bases_block_reads_the_dormant_models_input_on_its_own_gpu() -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(3, device=TWO[0]))

        def forward(self, rows: torch.Tensor, rotation: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return rows * self.weight + rotation[0]

    rows = torch.zeros(2, 3, device=TWO[1])
    assert _called(Block(), (rows,), {"rotation": (rows,)}, (None, None)).device == TWO[0]
