"""Where jobs keep their files: a folder that every host sees, or one known by its URL alone, as in an object store.

Behind a URL each file is put under another name first and then moved, so that it is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dormant.errors import BadInput, first_line
from dormant.records import write_atomically

PUT_EVERY = 30.0  # seconds of work that a job behind a URL loses at most where it is killed
PART = ".part"  # what a file's name ends in until it is whole


class Place(Protocol):
    """A folder of files by name, each whole or absent."""

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""
        ...

    def read(self, name: str) -> str | None:
        """A file's text; None where it is absent."""
        ...

    def write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, where it is there."""
        ...


@dataclass(frozen=True)
class Folder:
    """A place by its path."""

    path: Path

    def __str__(self) -> str:
        """Its path."""
        return str(self.path)

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""
        return (self.path / name).exists()

    def read(self, name: str) -> str | None:
        """A file's text; None where it is absent."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all."""
        write_atomically(self.path / name, text)

    def remove(self, name: str) -> None:
        """Remove a file, where it is there."""
        (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Store:
    """A place by its URL, such as s3://bucket/sweep, through fsspec; `put_every`: seconds between two puts of a job."""

    url: str
    put_every: float = PUT_EVERY

    def __str__(self) -> str:
        """Its URL."""
        return self.url

    def at(self, name: str) -> Store:
        """A place within this one."""
        return Store(f"{self.url.rstrip('/')}/{name}", self.put_every)

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""
        files, root = self._open()
        return bool(files.exists(f"{root}/{name}"))

    def read(self, name: str) -> str | None:
        """A file's text; None where it is absent."""
        files, root = self._open()
        try:
            return bytes(files.cat_file(f"{root}/{name}")).decode("utf-8")
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all."""
        files, root = self._open()
        part = self._part(files, root, name)
        files.pipe_file(part, text.encode())
        files.mv(part, f"{root}/{name}")

    def create(self, name: str, text: str) -> bool:
        """Write a file unless one is there already; whether it was written."""
        files, root = self._open()
        self._part(files, root, name)
        try:
            files.pipe_file(f"{root}/{name}", text.encode(), mode="create")
        except FileExistsError:
            return False
        return True

    def put(self, file: Path, name: str) -> None:
        """Copy a file of this machine there, whole or not at all."""
        files, root = self._open()
        part = self._part(files, root, name)
        files.put_file(str(file), part)
        files.mv(part, f"{root}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file, where it is there."""
        files, root = self._open()
        if files.exists(f"{root}/{name}"):
            files.rm_file(f"{root}/{name}")

    def names(self) -> list[str]:
        """Every whole file in this place and in the folders within it."""
        files, root = self._open()
        try:
            found = files.find(root)
        except FileNotFoundError:
            return []
        return [name.removeprefix(root).lstrip("/") for name in found if not name.endswith(PART)]

    def get(self, folder: Path) -> None:
        """Copy every file to a folder of this machine."""
        files, root = self._open()
        for name in self.names():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            files.get_file(f"{root}/{name}", str(folder / name))

    def check(self) -> None:
        """Raises BadInput where nothing can be written."""
        name = f"check-{uuid.uuid4().hex}"
        try:
            self.write(name, "")
            self.remove(name)
        except BadInput:
            raise
        except Exception as error:  # each kind of store raises its own
            raise BadInput(
                f"the store must be writable; got {type(error).__name__}: {first_line(error)} at {self.url}; correct the "
                "URL or what it needs"
            ) from error

    def _open(self) -> tuple[Any, str]:
        """The file system, and this place in it; BadInput for a URL that fsspec or its extras do not know."""
        from fsspec.core import url_to_fs

        try:
            files, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise BadInput(
                f"a URL must be one that fsspec serves; got {first_line(error)!r} at {self.url}; install what it needs "
                "(s3fs for s3://), or correct it"
            ) from error
        files.invalidate_cache()  # other hosts write there
        return files, str(root).rstrip("/")

    def _part(self, files: Any, root: str, name: str) -> str:
        """The name of a file that is not whole yet; makes its folder, where the store has folders."""
        whole = f"{root}/{name}"
        files.makedirs(whole.rpartition("/")[0], exist_ok=True)
        return f"{whole}.{uuid.uuid4().hex}{PART}"


def store_of(out: str) -> Store | None:
    """The store that a URL names; None for the path of a folder."""
    return Store(out) if "://" in out else None


def scratch(store: Store) -> Path:
    """The folder of this machine in which jobs work whose place is a store; the same path on each host of one user."""
    digest = hashlib.sha256(store.url.rstrip("/").encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dormant-{os.getuid()}" / digest
