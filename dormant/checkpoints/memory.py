"""Whether a pair's models fit into memory, estimated from the files' headers before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil
import torch

from dormant.checkpoints.adapted_tensor import AdaptedTensor
from dormant.checkpoints.adapters import why_not_shared
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.shards import StoredTensor
from dormant.errors import BadInput

if TYPE_CHECKING:
    from dormant.checkpoints.models import RunConfig


def check_memory(base: Checkpoint, dormant: Checkpoint, run_config: RunConfig) -> None:
    """Raises BadInput where the weights alone exceed the device's free memory; it names the settings under which they fit."""
    free = free_bytes(run_config.device)
    needed = needed_bytes(base, dormant, run_config.dtype, run_config.residency)
    if needed <= free:
        return
    fitting = [
        f"--residency {residency} --dtype {str(dtype).removeprefix('torch.')}"
        for dtype in dict.fromkeys((run_config.dtype, torch.bfloat16))
        for residency in ("both", "shared", "swap")
        if (residency != "shared" or not why_not_shared(dormant))
        and needed_bytes(base, dormant, dtype, residency) <= free
    ]
    advice = f"use {fitting[0]}" if fitting else "use a device with more memory"
    raise BadInput(
        f"the models must fit the memory of {run_config.device}; got weights of {_gigabytes(needed)} under residency "
        f"{run_config.residency} in {str(run_config.dtype).removeprefix('torch.')} for {_gigabytes(free)} that are free, at "
        f"{base.reference} and {dormant.reference}; {advice}"
    )


def needed_bytes(base: Checkpoint, dormant: Checkpoint, dtype: torch.dtype, residency: str) -> int:
    """How many bytes the weights of both models take on the device."""
    ours, theirs = (_values(model.catalogue.values()) for model in (base, dormant))
    if residency == "swap":
        return max(ours, theirs) * dtype.itemsize
    if residency == "both":
        return (ours + theirs) * dtype.itemsize
    beside = [
        part
        for name, stored in dormant.catalogue.items()
        if stored != base.catalogue.get(name)
        for part in (stored.parts[1:] if isinstance(stored, AdaptedTensor) else stored.parts)
    ]
    return ours * dtype.itemsize + _values(beside) * 4  # peft keeps an adapter in float32


def free_bytes(device: torch.device) -> int:
    """How much memory is free on a device: a GPU's own, else the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _values(tensors: Iterable[StoredTensor]) -> int:
    return sum(math.prod(stored.shape) for stored in tensors)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
