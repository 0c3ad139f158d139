"""Text files of a checkpoint as people save them: UTF-8, with or without the mark that some editors put first."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

TEXTS = (".json", ".jinja", ".txt")


def read_text(file: Path) -> str:
    """The file's text without a byte-order mark; OSError and UnicodeDecodeError as `Path.read_text`."""
    return file.read_text(encoding="utf-8-sig")


@contextmanager
def without_marks(folder: Path) -> Iterator[Path]:
    """The folder, or one like it whose text files have lost their byte-order marks: transformers reads no others."""
    marked = [file for file in sorted(folder.iterdir()) if file.suffix in TEXTS and _is_marked(file)]
    if not marked:
        yield folder
        return
    with TemporaryDirectory() as made:
        for file in folder.iterdir():
            copy = Path(made, file.name)
            if file in marked:
                copy.write_bytes(file.read_bytes().removeprefix(codecs.BOM_UTF8))
            else:
                copy.symlink_to(file.absolute())
        yield Path(made)


def _is_marked(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
