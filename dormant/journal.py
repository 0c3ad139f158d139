"""Journals of long work: a killed run resumes and ends with the same result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dormant.errors import BadInput

JournalStep = Callable[[Callable[[], Any]], Any]  # gives the computation's result, or that of an earlier run


class Journal:
    """A file of JSON lines: first everything that determines the result of the work, then an entry a step.

    `entries`: those of earlier runs, in order; an incomplete last line is dropped. JSON keeps every digit of a float, so
    that a resumed computation continues from equal numbers.
    """

    def __init__(self, path: Path, work: Mapping[str, Any]) -> None:
        """Open or start the journal of `work`; raises BadInput for the journal of other work and an unwritable file."""
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
            os.replace(fresh, path)  # without the incomplete line
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error

    def append(self, entry: Any) -> None:
        """Write an entry to disk; raises BadInput on a full disk, which keeps all earlier entries."""
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self.entries.append(json.loads(json.dumps(entry)))

    def finish(self) -> None:
        """Remove the journal: the work is done and its result is stored."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and keep it for a later run."""
        self._file.close()

    def _read(self) -> list[Any]:
        try:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                f"a journal must be readable; got {error} at {self.path}; remove it to start again"
            ) from error
        whole, _, _ = text.rpartition("\n")  # an incomplete last line has no end
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
    """A step of work without a journal."""
    return compute()


@contextmanager
def kept_steps(path: Path | None, work: Mapping[str, Any]) -> Iterator[JournalStep]:
    """Steps of `work`, which must have one order and give JSON: a step that the journal holds is not computed again.

    Without a path nothing is written. The journal stays for later calls; remove it once the result is stored. Raises
    BadInput as `Journal` does.
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
