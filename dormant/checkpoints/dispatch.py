"""Several GPUs for a pair: which model is on which, and one that is too large for one of them, whole blocks on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from dormant.errors import BadInput


def devices_of(role: str, devices: Sequence[torch.device], residency: str) -> tuple[torch.device, ...]:
    """The devices of a pair's base or dormant model: under "both" the first or the second half of them, else all."""
    if residency != "both" or len(devices) < 2:
        return tuple(devices)
    half = len(devices) // 2
    return tuple(devices[:half] if role == "base" else devices[half:])


def check_devices(devices: Sequence[torch.device], residency: str, bits: int) -> None:
    """Raises BadInput for several devices that are no different GPUs, or that this residency or these bits cannot share out."""
    if len(devices) < 2:
        return
    names = ",".join(map(str, devices))
    if len(set(devices)) < len(devices) or any(device.type != "cuda" or device.index is None for device in devices):
        raise BadInput(f"several devices must be different GPUs such as cuda:0,cuda:1; got {names} at --device")
    if residency == "both" and len(devices) % 2:
        raise BadInput(
            f"both models need as many GPUs each; got {names} at --device; name an even number, or --residency swap or shared"
        )
    if bits and (residency != "both" or len(devices) > 2):
        raise BadInput(f"a model in {bits} bits must be on one GPU; got {names} at --device; name one for each model")


def block_devices(
    model: PreTrainedModel, devices: Sequence[torch.device], free: Mapping[torch.device, int]
) -> dict[str, int]:
    """The GPU, by number, of each part of a model, blocks whole; raises BadInput where they do not fit into `free` bytes."""
    from accelerate.utils import get_balanced_memory, infer_auto_device_map

    whole = list(model._no_split_modules or ())
    room: dict[Any, int] = {device.index: free[device] for device in devices}
    room = get_balanced_memory(model, max_memory=room, no_split_module_classes=whole)
    found = infer_auto_device_map(model, max_memory=room, no_split_module_classes=whole)
    if outside := [name for name, where in found.items() if where not in room or not isinstance(where, int)]:
        raise BadInput(
            f"the model's blocks must fit the GPUs; got {len(outside)} parts that do not, {outside[0]} first, on "
            f"{','.join(map(str, devices))}; name more GPUs, or a smaller --dtype"
        )
    return dict(found)


def dispatch(model: PreTrainedModel, devices: Sequence[torch.device]) -> None:
    """Moves a model's blocks from the host to several GPUs, in place; inputs and outputs are on the first."""
    from accelerate import dispatch_model

    free = {device: int(torch.cuda.mem_get_info(device)[0]) for device in devices}
    dispatch_model(model, device_map=block_devices(model, devices, free))


def is_dispatched(model: torch.nn.Module) -> bool:
    """Whether the model's parts are on several devices, so that nothing but its own forward pass joins them."""
    return len(set(getattr(model, "hf_device_map", {}).values())) > 1
