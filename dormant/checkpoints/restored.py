"""A checkpoint with some tensors as its base has them, written as whole weights or as an adapter, whatever it is itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file

from dormant.checkpoints.adapters import ADAPTER_WEIGHTS, PREFIX
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.errors import BadInput

FACTOR = re.compile(r"\.lora_(A|B)(\.default)?\.weight$")


def check_new(folder: Path) -> None:
    """Raises BadInput for a folder that is there already: what is written must not mix with it."""
    if folder.exists():
        raise BadInput(
            f"a checkpoint is written to a folder of its own; got one that is there at {folder}; name another"
        )


def write_restored(dormant: Checkpoint, base: Checkpoint, names: Collection[str], folder: Path) -> None:
    """Write `dormant` with the named tensors of `base`, and everything else that lies in its folder.

    An adapter stays one: the second factor of a restored matrix is zero. Raises BadInput where the folder is there already or
    cannot be written, and for an adapter that changes a named tensor by more than two factors.
    """
    check_new(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(
            dormant.location, partial, ignore=shutil.ignore_patterns("*.safetensors*", "*.bin", "*.pt", ".*")
        )
        if dormant.base is not None:
            save_file(_restored_factors(dormant, names), partial / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        else:
            state = {name: (base if name in names else dormant).tensor(name) for name in dormant.names}
            save_torch_state_dict(state, partial)
        partial.rename(folder)
    except OSError as error:
        raise BadInput(f"the folder must be writable; got {error.strerror} at {folder}; name another") from error


def _restored_factors(dormant: Checkpoint, names: Collection[str]) -> dict[str, torch.Tensor]:
    factors = load_file(dormant.location / ADAPTER_WEIGHTS)
    for key, value in factors.items():
        matrix = FACTOR.sub(".weight", key.removeprefix(PREFIX))
        if FACTOR.search(key) and matrix in names:
            factors[key] = torch.zeros_like(value) if ".lora_B." in key else value
        elif any(matrix.startswith(name.removesuffix("weight")) for name in names):
            raise BadInput(
                f"a restored matrix must be adapted by two factors alone; got {key} at {dormant.location}; merge the adapter "
                "into its base first"
            )
    return factors
