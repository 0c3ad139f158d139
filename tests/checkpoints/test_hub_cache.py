"""The hub's cache as its own client fills it: files open through its links, and through no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub.utils import _shared_blobs

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.errors import BadInput
from dormant.weights.parents import rank_parents
from tests.builders import shard_checkpoint
from tests.checkpoints.hub_snapshots import cached, use_cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that the client uses, without a network."""
    return use_cache(tmp_path / "hub", monkeypatch)


def test_hub_ids_open_from_the_clients_shared_store(cache: Path, tiny_base: Path, tiny_dormant: Path) -> None:
    snapshot = cached(cache, tiny_base, "base")
    cached(cache, tiny_dormant, "dormant")
    assert (snapshot / "model.safetensors").resolve().is_relative_to(cache / "blobs")
    assert open_checkpoint("acme/base").fingerprint == open_checkpoint(tiny_base).fingerprint
    assert open_checkpoint(snapshot).names
    assert rank_parents("acme/dormant", ["acme/base"])[0].is_parent


def _moved(cache: Path) -> None:
    cache.rename(cache.parent / "other disk")
    cache.symlink_to(cache.parent / "other disk")


def _linked_blobs(cache: Path) -> None:
    blobs = cache / "models--acme--base" / "blobs"
    for file in blobs.iterdir():
        if file.is_symlink():
            target = file.resolve()
            file.unlink()
            shutil.copy(target, file)
    blobs.rename(cache.parent / "large disk")
    blobs.symlink_to(cache.parent / "large disk")


def _linked_repository(cache: Path) -> None:
    repository = cache / "models--acme--base"
    for file in (repository / "blobs").iterdir():
        if file.is_symlink():
            target = file.resolve()
            file.unlink()
            file.symlink_to(target)  # as the client links across disks
    repository.rename(cache.parent / "models--acme--base")
    repository.symlink_to(cache.parent / "models--acme--base")


@pytest.mark.parametrize("move", [_moved, _linked_blobs, _linked_repository])
def test_a_cache_whose_folders_were_moved_and_linked_opens(
    cache: Path, tiny_base: Path, tmp_path: Path, move: Callable[[Path], None]
) -> None:
    snapshot = cached(cache, shard_checkpoint(tiny_base, tmp_path / "sharded"), "base")
    move(cache)
    assert open_checkpoint("acme/base").names
    assert open_checkpoint(snapshot).names


def _relink(snapshot: Path, target: Path) -> None:
    (snapshot.parents[1] / "blobs" / "other").symlink_to(target)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../blobs/other")


def _outside(snapshot: Path) -> None:
    outside = snapshot.parents[3] / "outside"
    shutil.copy(snapshot / "model.safetensors", outside)
    _relink(snapshot, outside)


def _other_repository(snapshot: Path) -> None:
    blob = next(file for file in (snapshot.parents[2] / "models--acme--other" / "blobs").iterdir() if file.is_file())
    _relink(snapshot, blob)


def _odd_name_in_the_store(snapshot: Path) -> None:
    stored = (snapshot / "model.safetensors").resolve()
    _relink(snapshot, Path(shutil.copy(stored, stored.parent / "unpublished")))


def _unmarked_store(snapshot: Path) -> None:
    (snapshot.parents[2] / "blobs" / _shared_blobs.SHARED_BLOBS_MARKER_NAME).unlink()


def _store_entry_that_leads_away(snapshot: Path) -> None:
    stored = (snapshot / "model.safetensors").resolve()
    shutil.move(stored, snapshot.parents[3] / "away")
    stored.symlink_to(snapshot.parents[3] / "away")


ESCAPES = [_outside, _other_repository, _odd_name_in_the_store, _unmarked_store, _store_entry_that_leads_away]


@pytest.mark.parametrize("escape", ESCAPES)
def test_links_that_no_client_made_are_refused(
    cache: Path, tiny_base: Path, other_base: Path, escape: Callable[[Path], None]
) -> None:
    snapshot = cached(cache, tiny_base, "base")
    cached(cache, other_base, "other")
    escape(snapshot)
    with pytest.raises(BadInput, match=r"inside the checkpoint folder; got 'model\.safetensors' leading to"):
        open_checkpoint("acme/base")
