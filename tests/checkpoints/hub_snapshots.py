"""Repositories in a hub cache as the client itself leaves them, every large file in the one store of all repositories."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _shared_blobs

REVISION = "a" * 40


def use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the client use this cache, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


def cached(cache: Path, source: Path, name: str) -> Path:
    """`source` in a hub cache as acme/`name`, its large files published into the store; its snapshot."""
    repository = cache / f"models--acme--{name}"
    snapshot = repository / "snapshots" / REVISION
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION, encoding="utf-8")
    for file in source.iterdir():
        key = hashlib.sha256(file.read_bytes()).hexdigest()
        blob = Path(shutil.copy(file, repository / "blobs" / key))
        if file.suffix == ".safetensors":
            size = blob.stat().st_size
            assert _shared_blobs.publish_blob_to_shared_store(
                blob_path=str(blob), xet_hash=key, cache_dir=cache, expected_size=size
            )
            assert blob.is_symlink()
        (snapshot / file.name).symlink_to(f"../../blobs/{key}")
    return snapshot
