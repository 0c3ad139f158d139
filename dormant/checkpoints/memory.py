"""Whether a pair's models fit into memory, estimated from the files' headers before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil
import torch

from dormant.checkpoints.adapted_tensor import AdaptedTensor
from dormant.checkpoints.adapters import why_not_shared
from dormant.checkpoints.bits import DEVICES, RUN_BITS, loaded_bytes
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.shards import StoredTensor
from dormant.errors import BadInput

if TYPE_CHECKING:
    from dormant.checkpoints.models import RunConfig


def check_memory(base: Checkpoint, dormant: Checkpoint, run_config: RunConfig) -> None:
    """Raises BadInput where the weights alone exceed the device's free memory; it names the settings under which they fit."""
    if run_config.devices and run_config.residency == "both":
        for role, model in (("base", base), ("dormant", dormant)):
            _check_alone(model, role, run_config)
        return
    free = sum(map(free_bytes, run_config.devices or (run_config.device,)))
    needed = needed_bytes(base, dormant, run_config.dtype, run_config.residency, run_config.bits)
    if needed <= free:
        return
    precisions = {run_config.precision: (run_config.dtype, run_config.bits), "bfloat16": (torch.bfloat16, 0)}
    if run_config.device.type in DEVICES:
        precisions |= {name: (torch.bfloat16, bits) for name, bits in RUN_BITS.items()}
    fitting = [
        f"--residency {residency} --dtype {name}"
        for name, (dtype, bits) in precisions.items()
        for residency in ("both", "shared", "swap")
        if (residency != "shared" or not why_not_shared(dormant))
        and needed_bytes(base, dormant, dtype, residency, bits) <= free
    ]
    advice = f"use {fitting[0]}" if fitting else "use a device with more memory"
    raise BadInput(
        f"the models must fit the memory of {run_config.device}; got weights of {_gigabytes(needed)} under residency "
        f"{run_config.residency} in {run_config.precision} for {_gigabytes(free)} that are free, at "
        f"{base.reference} and {dormant.reference}; {advice}"
    )


def _check_alone(model: Checkpoint, role: str, run_config: RunConfig) -> None:
    devices = run_config.of(role)
    free = sum(map(free_bytes, devices))
    needed = needed_bytes(model, model, run_config.dtype, "swap", run_config.bits)
    if needed > free:
        raise BadInput(
            f"the {role} model must fit the memory of {','.join(map(str, devices))}; got weights of {_gigabytes(needed)} in "
            f"{run_config.precision} for {_gigabytes(free)} that are free, at {model.reference}; name more GPUs "
            "for each model, or a smaller --dtype"
        )


def needed_bytes(base: Checkpoint, dormant: Checkpoint, dtype: torch.dtype, residency: str, bits: int = 0) -> int:
    """How many bytes the weights of both models take on the device; those of layers in `bits` where these are not 0."""
    ours, theirs = (
        sum(loaded_bytes(stored, dtype, bits) for stored in model.catalogue.values()) for model in (base, dormant)
    )
    if residency == "swap":
        return int(max(ours, theirs))
    if residency == "both":
        return int(ours + theirs)
    beside = [
        part
        for name, stored in dormant.catalogue.items()
        if stored != base.catalogue.get(name)
        for part in (stored.parts[1:] if isinstance(stored, AdaptedTensor) else stored.parts)
    ]
    return int(ours) + _values(beside) * 4  # peft keeps an adapter in float32


def free_bytes(device: torch.device) -> int:
    """How much memory is free on a device: a GPU's own, else the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _values(tensors: Iterable[StoredTensor]) -> int:
    return sum(math.prod(stored.shape) for stored in tensors)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
