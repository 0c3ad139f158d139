"""Journals of long work: what is done survives a kill, and the resumed run ends as the uninterrupted one would."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dormant.errors import BadInput

Step = Callable[[Callable[[], Any]], Any]  # gives what the computation gives, or gave an earlier run


class Journal:
    """Append-only JSON lines beside a piece of work, headed by everything that decides its result.

    `entries` are those that an earlier run left, in order; a last line torn by a kill is dropped. JSON keeps every digit of
    a float, so that a resumed computation continues from equal numbers.
    """

    def __init__(self, path: Path, work: Mapping[str, Any]) -> None:
        """Opens or starts the journal of `work`; raises BadInput where the file is another work's or not writable."""
        self.path, self._work = path, json.loads(json.dumps(dict(work)))
        if path.exists() and not path.is_file():
            raise BadInput(f"a journal is a file of its own; got a folder or device at {path}; name another file")
        lines = self._read()
        if lines and lines[0] != {"work": self._work}:
            raise BadInput(
                f"a journal must be of the same work to be resumed; got {json.dumps(lines[0])[:120]} at {path}; "
                "remove it to start again, or name another file"
            )
        self.entries: list[Any] = lines[1:]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(line) + "\n" for line in ({"work": self._work}, *self.entries))
            fresh = path.with_name(path.name + ".new")
            fresh.write_text(text, encoding="utf-8")
            os.replace(fresh, path)  # without the torn line
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error

    def append(self, entry: Any) -> None:
        """Adds an entry, which is on disk when this returns; raises BadInput on a full disk: nothing before it is lost."""
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.entries.append(json.loads(json.dumps(entry)))

    def finish(self) -> None:
        """The work is done and its result is elsewhere: removes the journal."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file and leaves it for a later run."""
        self._file.close()

    def _read(self) -> list[Any]:
        try:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                f"a journal must be readable; got {error} at {self.path}; remove it to start again"
            ) from error
        whole, _, _ = text.rpartition("\n")  # a torn last line has no end
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise BadInput(
                f"a journal holds JSON lines; got {error} at {self.path}; remove it to start again"
            ) from error

    def _unwritable(self, error: OSError) -> BadInput:
        return BadInput(
            f"a journal must be writable; got {error.strerror} at {self.path}; free some space or name another file: "
            "what it holds is kept"
        )


def unkept(compute: Callable[[], Any]) -> Any:
    """A step of work that no journal keeps."""
    return compute()


@contextmanager
def kept_steps(path: Path | None, work: Mapping[str, Any]) -> Iterator[Step]:
    """Steps of `work` that always come in the same order and give JSON: those that the journal holds are not computed again.

    Without a path nothing is kept. The journal then holds all steps for whoever asks again; remove it when the result is
    elsewhere. Raises BadInput as `Journal` does.
    """
    if path is None:
        yield unkept
        return
    with closing(Journal(path, work)) as journal:
        earlier = iter(tuple(journal.entries))

        def step(compute: Callable[[], Any]) -> Any:
            for entry in earlier:
                return entry
            journal.append(compute())
            return journal.entries[-1]

        yield step
