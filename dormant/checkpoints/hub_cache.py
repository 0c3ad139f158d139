"""Where the hub's cache keeps a snapshot's files: links into the repository's blobs, and from there into one store."""

from __future__ import annotations

import re
from pathlib import Path

STORE_MARK = ".huggingface-shared-blobs"  # the client's own, in the one store of all cached repositories
STORED = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}")  # a file of that store, below it


def is_inside(location: Path, file: Path) -> bool:
    """Whether a file of the folder `location` stays in it, or is a link that the hub's cache made for a snapshot.

    The client links a snapshot's file to the repository's `blobs`, and since version 2 a large blob to the cache's one
    store, `<cache>/blobs/<2 hex>/<64 hex>`. Folders of the cache may be links themselves; what a link of another form leads
    to is outside.
    """
    real = file.resolve()
    if real.is_relative_to(location.resolve()):
        return True
    # Either as the snapshot was named or as its links resolve: whoever moves a part of the cache leaves a link to it.
    snapshots = [path for path in (location.absolute(), location.resolve()) if path.parent.name == "snapshots"]
    return any(_in_cache(path.parent.parent, real) for path in snapshots)


def _in_cache(repository: Path, real: Path) -> bool:
    if real.is_relative_to((repository / "blobs").resolve()):
        return (repository / "blobs").is_dir()
    store = repository.parent / "blobs"
    if not repository.name.startswith("models--") or not (store / STORE_MARK).is_file():
        return False
    store = store.resolve()
    return real.is_relative_to(store) and STORED.fullmatch(real.relative_to(store).as_posix()) is not None
