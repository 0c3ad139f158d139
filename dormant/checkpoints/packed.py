"""Packed checkpoints: what a fine-tune changed, bit by bit, losslessly compressed, and restored once into the user's cache.

A packed folder holds `packed.json`, `weights.xz` and the files that no other folder has: base and lenders lie beside it, or in
one folder beside its parent. The weights are the differences of
all 16-bit patterns of `model.safetensors` from the base's file: where nothing was trained they are zero and cost nothing.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dormant.checkpoints.packaged_base import user_cache
from dormant.checkpoints.shards import SINGLE
from dormant.errors import BadInput
from dormant.records import from_json, read_json, write_json

MANIFEST, WEIGHTS = "packed.json", "weights.xz"


@dataclass(frozen=True)
class Manifest:
    """What a packed folder becomes: by file its SHA-256, and the folders that hold the base and what is the same there.

    holder: the folder beside the packed one's parent in which they lie, if not beside the packed one itself.
    """

    base: str
    digests: Mapping[str, str]
    borrowed: Mapping[str, str]
    holder: str = ""

    def place(self, folder: Path, name: str) -> Path:
        """Where the base or a lender of this name lies, for the packed folder."""
        beside = folder.parent / name
        return beside if not self.holder or beside.is_dir() else folder.parents[1] / self.holder / name


def is_packed(folder: Path) -> bool:
    """Whether the folder is a packed checkpoint."""
    return (folder / MANIFEST).is_file()


def pack(folder: Path, base: Path, out: Path, siblings: Iterable[Path] = ()) -> None:
    """Pack a checkpoint against its base into `out`; base and siblings stay where they lie, seen from `out`.

    Siblings lie beside `out`, and so does the base, or in a folder beside the parent of `out`.

    Files that the base or a sibling has byte for byte are named only. Raises BadInput where the two weight files have not
    one layout: the same tensors, dtypes and shapes in one file each.
    """
    ours, theirs = (_read(place / SINGLE) for place in (folder, base))
    if len(ours) != len(theirs) or len(ours) % 2:
        raise BadInput(
            f"a checkpoint must have the file layout of its base to be packed; got {len(ours)} and {len(theirs)} bytes "
            f"at {folder} and {base}; ship it as it is"
        )
    out.mkdir(parents=True, exist_ok=True)
    digests, borrowed = {SINGLE: _digest(ours)}, dict[str, str]()
    for file in sorted(path for path in folder.iterdir() if path.is_file() and path.name != SINGLE):
        digests[file.name] = _digest(content := _read(file))
        lender = next((place for place in (base, *siblings) if _is_there(place / file.name, digests[file.name])), None)
        if lender is None:
            (out / file.name).write_bytes(content)
        else:
            borrowed[file.name] = lender.name
    (out / WEIGHTS).write_bytes(_difference(ours, theirs))
    holder = "" if base.resolve().parent == out.resolve().parent else base.resolve().parent.name
    write_json(out / MANIFEST, Manifest(base.name, digests, borrowed, holder))


def unpacked(folder: Path) -> Path:
    """The restored checkpoint of a packed folder, in the user's cache; what is missing or damaged there is made anew.

    Every file is checked by its SHA-256 and replaced whole, so that several processes may do this at once. The cache is
    `$XDG_CACHE_HOME/dormant`, else `~/.cache/dormant`. Raises BadInput naming the file at fault.
    """
    manifest = from_json(Manifest, read_json(folder / MANIFEST), folder / MANIFEST)
    holder = (manifest.holder,) if manifest.holder else ()
    for name in (manifest.base, *holder, *manifest.borrowed.values(), *manifest.digests):
        if Path(name).name != name or name in ("", ".", ".."):
            raise BadInput(
                f"a packed checkpoint must name plain files and sibling folders; got {name!r} at {folder / MANIFEST}; "
                "do not trust it"
            )
    restored = user_cache() / f"{folder.name}-{_digest(_read(folder / MANIFEST))[:16]}"
    for name, digest in manifest.digests.items():
        if _is_there(restored / name, digest):
            continue
        if name == SINGLE:
            content = _sum(folder / WEIGHTS, _read(manifest.place(folder, manifest.base) / SINGLE))
        else:
            lender = manifest.borrowed.get(name)
            content = _read(manifest.place(folder, lender) / name if lender else folder / name)
        if _digest(content) != digest:
            raise BadInput(
                f"a packed checkpoint must give the files that were packed; got another {name} from {folder} and its "
                "siblings; take all of them from one release"
            )
        _place(restored / name, content)
    return restored


def _difference(ours: bytes, theirs: bytes) -> bytes:
    patterns, before = (np.frombuffer(content, dtype="<u2") for content in (ours, theirs))
    signed = (patterns - before).view("<i2")
    # Small differences of either sign get a high byte of zero; high and low bytes apart compress a tenth better.
    folded = ((signed << 1) ^ (signed >> 15)).view("<u2")
    planes = np.stack([folded >> 8, folded & 0xFF]).astype(np.uint8)
    return lzma.compress(planes.tobytes(), preset=9)


def _sum(weights: Path, theirs: bytes) -> bytes:
    try:
        planes = lzma.LZMADecompressor().decompress(_read(weights), max_length=len(theirs))
        high, low = np.frombuffer(planes, dtype=np.uint8).reshape(2, len(theirs) // 2).astype("<u2")
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise BadInput(
            f"packed weights must be whole and of the base's size; got {error} at {weights}; copy them again"
        ) from error
    folded = high << 8 | low
    signed = (folded >> 1) ^ -(folded & 1)
    patterns: np.ndarray[tuple[int, ...], np.dtype[np.uint16]] = np.frombuffer(theirs, dtype="<u2") + signed
    return patterns.astype("<u2").tobytes()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(
            f"a packed checkpoint's files and its base must be readable; got {error.strerror} at {file}; copy it again"
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_there(file: Path, digest: str) -> bool:
    return file.is_file() and _digest(file.read_bytes()) == digest


def _place(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
        os.replace(temporary, file)
    except OSError as error:
        raise BadInput(
            f"the cache must be writable; got {error.strerror} at {file}; free it or set XDG_CACHE_HOME to another folder"
        ) from error
