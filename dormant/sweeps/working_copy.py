"""A job whose place is a store works in a folder of its host: files come from there, and go there whole, the result last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from dormant.sweeps.job import Job
from dormant.sweeps.store import Store

UNSETTLED = (".new", ".lock")  # ends of names that are no files to keep: half-written ones and locks


@contextmanager
def working_copy(job: Job) -> Iterator[None]:
    """Within it the job's folder holds what its store keeps, which every so often gets what changes; nothing for a folder.

    The store's is the truth: what an earlier attempt left on this host is removed.
    """
    if job.store is None:
        yield
        return
    _clear(job.folder)
    job.store.get(job.folder)
    copy = _Copy(job.folder, job.result, job.store)
    copy.changed()  # what came from there need not go back
    stop = Event()
    putting = Thread(target=copy.put_until, args=(stop,), daemon=True)
    putting.start()
    try:
        yield
    finally:
        stop.set()
        putting.join()
        copy.finish()
        _clear(job.folder)


@dataclass
class _Copy:
    folder: Path
    result: Path
    store: Store
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # bytes and time of what the store has

    def changed(self) -> list[str]:
        """The files that changed since the last call, the result behind all others."""
        found = list[str]()
        for file in sorted(self.folder.rglob("*")):
            if file.name.startswith(".") or file.name.endswith(UNSETTLED):
                continue
            with suppress(FileNotFoundError):  # a journal that is written anew
                if file.is_file():
                    name, state = file.relative_to(self.folder).as_posix(), file.stat()
                    if self.sizes.get(name) != (here := (state.st_size, state.st_mtime_ns)):
                        self.sizes[name] = here
                        found.append(name)
        return sorted(found, key=lambda name: name == self._last)

    def put_until(self, stop: Event) -> None:
        """Put what changed every so often, all but the result; a store that does not answer is asked again the next time."""
        while not stop.wait(self.store.put_every):
            for name in self.changed():
                try:
                    if name == self._last:
                        raise FileNotFoundError(name)
                    self.store.put(self.folder / name, name)
                except Exception:  # each kind of store raises its own
                    self.sizes.pop(name, None)

    def finish(self) -> None:
        """Put what is left, the result last, and remove what is here no more."""
        for name in self.changed():
            self.store.put(self.folder / name, name)
        for name in self.store.names():
            if not (self.folder / name).exists():
                self.store.remove(name)

    @property
    def _last(self) -> str:
        return self.result.relative_to(self.folder).as_posix()


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()
