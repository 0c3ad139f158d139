"""Tensors on disk: which safetensors file holds which, read whole or in blocks, never outside the folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from dormant.errors import BadInput, first_line

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
BLOCK = 2**22  # elements a block: 8 MB in bfloat16, 32 MB once widened to float64


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies and what it looks like, known without reading it."""

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


def read_catalogue(location: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint folder by name, from the shards' headers only.

    Raises BadInput on pickle weights, on a shard that is missing, truncated or outside the folder, and on an index that
    disagrees with its shards.
    """
    # The order in which transformers looks, so that a folder with both is read the same way by both.
    if (location / SINGLE).exists() or (location / SINGLE).is_symlink():
        return {stored.name: stored for stored in _read_header(_inside(location, SINGLE, location))}
    if not (location / INDEX).exists():
        raise BadInput(_no_weights(location))
    index = _inside(location, INDEX, location)
    weight_map = _read_weight_map(index)
    shards = {name: _inside(location, name, index) for name in sorted(set(weight_map.values()))}
    catalogue: dict[str, StoredTensor] = {}
    for shard_name, shard in shards.items():
        for stored in _read_header(shard):
            if weight_map.get(stored.name) != shard_name:
                raise BadInput(
                    f"a shard must hold only tensors that the index places there; got {stored.name!r} at {shard}; "
                    f"rebuild {INDEX} from the shards"
                )
            catalogue[stored.name] = stored
    for name, shard_name in weight_map.items():
        if name not in catalogue:
            raise BadInput(
                f"every tensor of the index must be in its shard; got none at tensor {name!r} of {shards[shard_name]}; "
                "download the shard again or rebuild the index"
            )
    return catalogue


def read_tensor(stored: StoredTensor) -> torch.Tensor:
    """The whole tensor as stored."""
    with _open_shard(stored.file) as shard:
        tensor: torch.Tensor = shard.get_tensor(stored.name)
        return tensor.clone()  # its own memory: the shard's mapping goes away with this call


def read_blocks(stored: StoredTensor, axis: int = 0, elements: int = BLOCK) -> Iterator[torch.Tensor]:
    """The tensor in consecutive slices along `axis` (0 or 1), each of about `elements` elements, in order."""
    if not stored.shape:
        yield read_tensor(stored)
        return
    length = stored.shape[axis]
    step = max(1, elements * length // max(1, torch.Size(stored.shape).numel()))
    for start in range(0, length, step):
        # Opened anew for each block: pages of a mapping count as resident until it is closed, so one open shard
        # would grow to the tensor's whole size (616 MB against 86 MB for 545 MB read); reopening costs a millisecond.
        with _open_shard(stored.file) as shard:
            view = shard.get_slice(stored.name)
            block: torch.Tensor = view[start : start + step] if axis == 0 else view[:, start : start + step]
        yield block


@contextmanager
def _open_shard(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt") as shard:
            yield shard
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"a shard must be a whole safetensors file; got {first_line(error)!r} at {file}; download or save it again"
        ) from error


def _read_header(file: Path) -> list[StoredTensor]:
    with _open_shard(file) as shard:
        views = {name: shard.get_slice(name) for name in sorted(shard.keys())}
        return [StoredTensor(name, file, tuple(v.get_shape()), _dtype(name, v, file)) for name, v in views.items()]


def _dtype(name: str, view: Any, file: Path) -> torch.dtype:
    stored = view.get_dtype()
    if stored not in DTYPES:
        raise BadInput(
            f"weights must be stored as one of {', '.join(DTYPES)}; got {stored} at tensor {name!r} of {file}; "
            "save the unquantised weights"
        )
    return DTYPES[stored]


def _read_weight_map(index: Path) -> Mapping[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not all(isinstance(value, str) for value in weight_map.values()):
            raise TypeError("weight_map names files by strings")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"the index must be JSON with a weight_map from tensor to file; got {first_line(error)!r} at {index}; "
            "download or save it again"
        ) from error
    return {str(name): str(file) for name, file in weight_map.items()}


def _inside(location: Path, name: str, source: Path) -> Path:
    """The file `name` of the folder, refused where following it leaves the folder."""
    path = location / name
    real = path.resolve()
    if Path(name).is_absolute() or ".." in Path(name).parts or not any(map(real.is_relative_to, _roots(location))):
        raise BadInput(
            f"weights must lie inside the checkpoint folder; got {name!r} leading to {real} at {source}; "
            "copy the file into the folder and name it there"
        )
    if not path.is_file():
        raise BadInput(f"every shard must be present; got no file {name!r} at {source}; download it again")
    return path


def _roots(location: Path) -> tuple[Path, ...]:
    """The folder, and for a snapshot of the hub's cache also the blobs beside it, where its links lead."""
    root = location.resolve()
    blobs = root.parent.parent / "blobs"
    return (root, blobs) if root.parent.name == "snapshots" and blobs.is_dir() else (root,)


def _no_weights(location: Path) -> str:
    pickles = sorted(file.name for pattern in PICKLES for file in location.glob(pattern))
    found = f"only pickle weights ({pickles[0]})" if pickles else f"neither {SINGLE} nor {INDEX}"
    return f"a checkpoint must hold safetensors weights; got {found} at {location}; save it with save_pretrained"
