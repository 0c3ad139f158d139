"""A packed checkpoint is restored byte by byte, once, and again where the cache is damaged."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.checkpoints.packed import MANIFEST, WEIGHTS, pack, unpacked
from dormant.errors import BadInput
from dormant.records import read_json


@pytest.fixture
def packed(tiny_base: Path, tiny_dormant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(tiny_base, tmp_path / "base")
    pack(tiny_dormant, tmp_path / "base", tmp_path / "tuned")
    return tmp_path / "tuned"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_a_packed_checkpoint_opens_as_the_one_that_was_packed(packed: Path, tiny_dormant: Path) -> None:
    opened = open_checkpoint(packed)
    assert contents(opened.location) == contents(tiny_dormant)
    assert opened.fingerprint == open_checkpoint(tiny_dormant).fingerprint
    assert not (packed / "tokenizer.json").exists()  # the base has it


def test_the_base_may_lie_in_a_folder_beside_the_packed_ones_parent(packed: Path, tiny_dormant: Path) -> None:
    further, place = packed.parent / "others" / "tuned", packed.parent
    pack(tiny_dormant, place / "base", place / "others" / "first")
    pack(tiny_dormant, place / "base", further, [place / "others" / "first"])
    assert read_json(further / MANIFEST)["holder"] == place.name
    moved = place / place.name
    moved.mkdir()
    shutil.move(place / "base", moved / "base")
    assert contents(unpacked(further)) == contents(tiny_dormant)


def test_it_is_unpacked_once(packed: Path) -> None:
    weights = unpacked(packed) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert unpacked(packed) / "model.safetensors" == weights
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(file.read_bytes()[:-9]), Path.unlink])
def test_a_damaged_cache_is_made_anew(packed: Path, tiny_dormant: Path, name: str, damage: object) -> None:
    damage(unpacked(packed) / name)  # type: ignore[operator]
    assert contents(unpacked(packed)) == contents(tiny_dormant)


def test_several_may_unpack_at_once(packed: Path, tiny_dormant: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(unpacked, [packed] * 4))) == 1
    assert contents(unpacked(packed)) == contents(tiny_dormant)


def test_differences_of_either_sign_cost_less_than_the_checkpoint(packed: Path, tiny_dormant: Path) -> None:
    assert (packed / WEIGHTS).stat().st_size < (tiny_dormant / "model.safetensors").stat().st_size


def _manifest(folder: Path, **changes: object) -> None:
    file = folder / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / WEIGHTS).write_bytes(b"not weights"), "packed weights must be whole"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:200]), "must be whole"),
        (lambda folder: (folder / WEIGHTS).unlink(), "must be readable; got No such file .*weights.xz"),
        (lambda folder: shutil.rmtree(folder.parent / "base"), "must be readable; got .*base/model"),
        (lambda folder: (folder.parent / "base" / "config.json").write_text("{}"), "got another config.json"),
        (lambda folder: _manifest(folder, base="../elsewhere"), r"sibling folders; got '\.\./elsewhere'"),
        (lambda folder: _manifest(folder, digests={"../model.safetensors": "0"}), "must name plain files"),
    ],
)
def test_what_cannot_be_restored_is_named(packed: Path, spoil: object, sentence: str) -> None:
    spoil(packed)  # type: ignore[operator]
    with pytest.raises(BadInput, match=sentence):
        unpacked(packed)


def test_another_layout_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "longer")
    with (tmp_path / "longer" / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadInput, match="must have the file layout of its base"):
        pack(tmp_path / "longer", tiny_base, tmp_path / "out")


def test_a_cache_that_cannot_be_written_is_named(packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="set XDG_CACHE_HOME to another folder"):
        unpacked(packed)
