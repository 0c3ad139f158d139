"""Tensors on disk: which safetensors file holds which, read whole or in blocks, never outside the folder."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from dormant.checkpoints.hub_cache import is_inside
from dormant.checkpoints.text_files import read_text
from dormant.errors import BadInput, first_line

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Buffers of GPT-2, GPT-NeoX, CodeGen and of older files, no weights.
MASK = re.compile(r"(?:^|\.)(?:(?:attn|attention|self_attn)\.(?:(?:masked_)?bias|causal_mask)|position_ids)$")
STORED_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
BLOCK = 2**22  # elements a block: 8 MB in bfloat16, 32 MB once widened to float64
POINTER = b"version "  # how a Git LFS pointer begins
HEADER_LIMIT = 100_000_000  # bytes; safetensors refuses longer headers too
READ_WHOLE = 2**21  # bytes of a tensor, up to which one read costs less than one for each of its rows


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies and what it looks like, known without reading it; `offset` is its first byte in the file."""

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int

    @property
    def bytes(self) -> int:
        """How long it is in the file."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """The stored tensors that its values are made of: itself."""
        return (self,)

    def made_of(self, values: torch.Tensor, start: int) -> torch.Tensor:
        """Its values from the `start`-th on, flat, of those that lie in the file: the same."""
        return values


def read_catalogue(location: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint folder by name, from the shards' headers only.

    Raises BadInput on pickle weights, on a shard that is missing, truncated or outside the folder, and on an index that
    disagrees with its shards.
    """
    names = shard_names(location)
    if names == [SINGLE]:
        return read_single_file(location, SINGLE)
    index = _inside(location, INDEX, location)
    weight_map = _read_weight_map(index)
    shards = {name: _inside(location, name, index) for name in names}
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
        if name not in catalogue and not MASK.search(name):
            raise BadInput(
                f"every tensor of the index must be in its shard; got none at tensor {name!r} of {shards[shard_name]}; "
                "download the shard again or rebuild the index"
            )
    return catalogue


def read_single_file(location: Path, name: str) -> dict[str, StoredTensor]:
    """Every tensor of one safetensors file of a folder, by name; BadInput as `read_catalogue`."""
    if not (location / name).exists() and not (location / name).is_symlink():
        raise BadInput(_no_weights(location, f"no {name}"))
    return {stored.name: stored for stored in _read_header(_inside(location, name, location))}


def survey_catalogue(location: Path) -> tuple[dict[str, StoredTensor], list[str]]:
    """Every tensor that can be read from a folder, damaged as it may be, and a sentence for each file or tensor at fault.

    Raises BadInput only where there is nothing to read at all.
    """
    faults: list[str] = []
    try:
        files = shard_names(location)
    except BadInput as error:
        faults.append(str(error))
        files = sorted(file.name for file in location.glob("*.safetensors"))
    catalogue: dict[str, StoredTensor] = {}
    for name in files:
        try:
            tensors, damaged = _survey_shard(_inside(location, name, location))
        except BadInput as error:
            faults.append(str(error))
            continue
        catalogue |= {stored.name: stored for stored in tensors}
        faults += damaged
    if not catalogue:
        raise BadInput(faults[0] if faults else _no_weights(location))
    return catalogue, faults


def read_tensor(stored: StoredTensor) -> torch.Tensor:
    """The whole tensor as stored."""
    with _open_raw(stored.file) as raw:
        return _read(raw, stored, 0, math.prod(stored.shape)).view(stored.shape)


def read_blocks(stored: StoredTensor, axis: int = 0, elements: int = BLOCK) -> Iterator[torch.Tensor]:
    """The tensor in consecutive slices along `axis` (0 or 1), each of about `elements` elements, in order.

    Plain reads: the pages of a mapping count as resident until it is closed (616 MB for 545 MB read).
    """
    if not stored.shape:
        yield read_tensor(stored)
        return
    length, size = stored.shape[axis], math.prod(stored.shape)
    step = max(1, elements * length // max(1, size))
    with _open_raw(stored.file) as raw:
        for start in range(0, length, step):
            count = min(step, length - start)
            if axis == 0:
                row = size // length
                yield _read(raw, stored, start * row, count * row).view(count, *stored.shape[1:])
            else:
                places = range(start, size, length)
                yield torch.stack([_read(raw, stored, place, count) for place in places])


def read_rows(stored: StoredTensor, count: int) -> torch.Tensor:
    """At most `count` rows of a matrix, spread evenly over it, or a whole vector: [rows, columns] or [length]."""
    if len(stored.shape) < 2 or stored.shape[0] <= count:
        return read_tensor(stored)
    places, width = [stored.shape[0] * row // count for row in range(count)], math.prod(stored.shape[1:])
    if stored.bytes <= READ_WHOLE:
        return read_tensor(stored)[places]
    with _open_raw(stored.file) as raw:
        return torch.stack([_read(raw, stored, place * width, width) for place in places])


def read_tiles(stored: StoredTensor, buffer: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensor's values in order as flat views of `buffer` (uint8), each valid until the next is asked for.

    Plain reads into one small buffer, without a mapping: the tiles stay in the processor's cache and memory stays flat.
    Raises BadInput where the file ends early or cannot be read.
    """
    position, end = stored.offset, stored.offset + stored.bytes
    with _open_raw(stored.file) as raw:
        raw.seek(position)
        while position < end:
            part = buffer[: min(len(buffer), end - position)]
            _fill(raw, part, stored)
            yield stored.made_of(part.view(stored.dtype), (position - stored.offset) // stored.dtype.itemsize)
            position += len(part)


class _OneThread:
    """Who is inside `on_one_thread`, and how many threads torch had before the first of them."""

    lock = threading.Lock()
    inside = 0
    before = 1


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Tiles are too small to share: threads that wait for each other at every one are 20 times as slow on a busy machine.

    The number is the process's, and two checkpoints are hashed at once: all give back what the first of them found.
    """
    with _OneThread.lock:
        if _OneThread.inside == 0:
            _OneThread.before = torch.get_num_threads()
        _OneThread.inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _OneThread.lock:
            _OneThread.inside -= 1
            torch.set_num_threads(_OneThread.before)  # every thread has a number of its own, beside the process's


def _survey_shard(file: Path) -> tuple[list[StoredTensor], list[str]]:
    """The tensors that lie whole in a file and a sentence for each that does not; BadInput without a readable header."""
    tensors, faults = [], []
    size = file.stat().st_size
    for name, (shape, dtype, start) in raw_header(file).items():
        if dtype not in STORED_DTYPES:
            if MASK.search(name):
                continue
            faults.append(_other_dtype(name, dtype, file))
            continue
        stored = StoredTensor(name, file, shape, STORED_DTYPES[dtype], start)
        if start + stored.bytes > size:
            faults.append(
                f"a tensor must lie whole in its shard; got the file's end {start + stored.bytes - size} bytes early at "
                f"tensor {name!r} of {file}; download or save it again"
            )
        else:
            tensors.append(stored)
    return tensors, faults


def _read(raw: FileIO, stored: StoredTensor, start: int, count: int) -> torch.Tensor:
    """`count` values from the `start`-th on, in memory of their own."""
    values = torch.empty(count, dtype=stored.dtype)
    raw.seek(stored.offset + start * stored.dtype.itemsize)
    _fill(raw, values.view(torch.uint8), stored)
    return stored.made_of(values, start)


def _fill(raw: FileIO, part: torch.Tensor, stored: StoredTensor) -> None:
    """Fills `part` (uint8) from where the file stands; one read ends at 2 GB, hence the loop."""
    done = 0
    while done < len(part):
        try:
            found = raw.readinto(part[done:].numpy().data)
        except OSError as error:
            raise BadInput(
                f"a shard must be readable; got {error.strerror} at tensor {stored.name!r} of {stored.file}; "
                "check the disk or download it again"
            ) from error
        if not found:
            raise BadInput(
                f"a shard must be a whole safetensors file; got its end {len(part) - done} bytes early at tensor "
                f"{stored.name!r} of {stored.file}; download or save it again"
            )
        done += found


@contextmanager
def _open_raw(file: Path) -> Iterator[FileIO]:
    try:
        raw = FileIO(file)
    except OSError as error:
        raise BadInput(f"a shard must be readable; got {error.strerror} at {file}; check the file") from error
    with raw:
        yield raw


def _read_header(file: Path) -> list[StoredTensor]:
    header = raw_header(file)
    try:
        with safe_open(file, framework="pt"):  # safetensors checks that header and file agree
            pass
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"a shard must be a whole safetensors file; got {first_line(error)!r} at {file}; download or save it again"
        ) from error
    names = [name for name in header if header[name][1] in STORED_DTYPES or not MASK.search(name)]
    for name in names:
        if header[name][1] not in STORED_DTYPES:
            raise BadInput(_other_dtype(name, header[name][1], file))
    return [
        StoredTensor(name, file, header[name][0], STORED_DTYPES[header[name][1]], header[name][2]) for name in names
    ]


def raw_header(file: Path) -> dict[str, tuple[tuple[int, ...], str, int]]:
    """Shape, dtype and first byte of every tensor: eight bytes of length, JSON, then the values."""
    try:
        with FileIO(file) as raw:
            first = raw.read(8)
            if first == POINTER:
                raise ValueError("a Git LFS pointer in place of the file (`git lfs pull` brings it)")
            length = int.from_bytes(first, "little")
            if length > HEADER_LIMIT:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(raw.read(length))
        return {
            name: (tuple(entry["shape"]), str(entry["dtype"]), 8 + length + entry["data_offsets"][0])
            for name, entry in sorted(header.items())
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadInput(
            f"a shard must be a whole safetensors file; got {first_line(error)!r} at {file}; download or save it again"
        ) from error


def _other_dtype(name: str, dtype: str, file: Path) -> str:
    return (
        f"weights must be stored as one of {', '.join(STORED_DTYPES)}; got {dtype} at tensor {name!r} of {file}; "
        "save the unquantised weights"
    )


def shard_names(location: Path) -> list[str]:
    """The files that hold the weights; BadInput without any, or where the index cannot be read."""
    # The order in which transformers looks, so that a folder with both is read the same way by both.
    if (location / SINGLE).exists() or (location / SINGLE).is_symlink():
        return [SINGLE]
    if not (location / INDEX).exists():
        raise BadInput(_no_weights(location))
    return sorted(set(_read_weight_map(_inside(location, INDEX, location)).values()))


def _read_weight_map(index: Path) -> Mapping[str, str]:
    try:
        record = json.loads(read_text(index))
        weight_map = record["weight_map"]
        if not isinstance(record.get("metadata", {}), dict):
            raise TypeError("metadata is no object, without which transformers loads nothing")
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
    named_outside = Path(name).is_absolute() or ".." in Path(name).parts
    if not named_outside and not path.is_file():
        raise BadInput(f"every shard must be present; got no file {name!r} at {source}; download it again")
    if named_outside or not is_inside(location, path):
        raise BadInput(
            f"weights must lie inside the checkpoint folder; got {name!r} leading to {path.resolve()} at {source}; "
            "copy the file into the folder and name it there"
        )
    return path


def _no_weights(location: Path, lacking: str = f"neither {SINGLE} nor {INDEX}") -> str:
    pickles = sorted(file.name for pattern in PICKLES for file in location.glob(pattern))
    found = f"only pickle weights ({pickles[0]})" if pickles else lacking
    return f"a checkpoint must hold safetensors weights; got {found} at {location}; save it with save_pretrained"
