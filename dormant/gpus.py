"""The GPUs that a process may see, shared out before CUDA starts."""

from __future__ import annotations

import os

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> tuple[str, ...]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them (numbers, UUIDs, MIG slices), or all of the machine's by number.

    As in CUDA, what follows the first entry that is empty or negative is not visible. Does not start CUDA.
    """
    listed = os.environ.get(VISIBLE)
    if listed is None:
        import torch

        return tuple(str(number) for number in range(torch.cuda.device_count()))
    entries = [entry.strip() for entry in listed.split(",")]
    hidden = (place for place, entry in enumerate(entries) if not entry or entry.startswith("-"))
    return tuple(entries[: next(hidden, len(entries))])


def take_gpu(number: int) -> None:
    """Leave this process and its children one of the visible GPUs, by its place among them, counted round.

    Call it before CUDA starts. Without GPUs nothing changes.
    """
    if gpus := visible_gpus():
        os.environ[VISIBLE] = gpus[number % len(gpus)]
