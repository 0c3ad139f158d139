"""What commands print: tables and sentences as wide as the terminal, or as they need where none is there.

Text that comes from models, files or users is never markup: `[/INST]` and `:smile:` print as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import IO

from rich import table as rich_table
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

COLUMN_GAP = 2  # columns between two columns
PROSE = 120  # columns of help texts where no terminal sets them
UNBOUNDED = 100_000  # columns: rich wants a number, and nothing printed is as wide


def console(file: IO[str] | None = None, stderr: bool = False, width: int | None = None) -> Console:
    """The console of every command; `width` in columns, by default the terminal's, and unbounded in a pipe or a log."""
    made = Console(file=file, stderr=stderr, width=width, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if width is None and not made.file.isatty():
        made.width = UNBOUNDED
    return made


def text_columns() -> int:
    """The columns in which prose is wrapped: the terminal's, and `PROSE` in a pipe or a log."""
    return console().width if sys.stdout.isatty() else PROSE


def show(printed: Table | str) -> None:
    """Print a table or a sentence to stdout."""
    console().print(printed)


def complain(sentence: object) -> None:
    """Print a sentence to stderr, with the command's name before it."""
    console(stderr=True).print(f"dormant: {sentence}")


class Table(rich_table.Table):
    """A rich table that breaks no word: where the words do not fit side by side, each row becomes a list."""

    def __init__(self, *heads: str, title: str | None = None) -> None:
        """Columns by their heads, under a title."""
        super().__init__(
            *heads, title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False,
            padding=(0, COLUMN_GAP - 1, 0, 0),
        )  # fmt: skip

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the columns out for the console's width."""
        texts = [[_plain(column.header), *map(_plain, column.cells)] for column in self.columns]
        natural = [max(map(text_width, column)) for column in texts]
        widths = fitted_widths(
            natural, list(map(longest_word, texts)), options.max_width - COLUMN_GAP * (len(texts) - 1)
        )
        if widths is None:
            yield from self._lists(texts)
            return
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _lists(self, texts: Sequence[Sequence[str]]) -> RenderResult:
        if self.title:
            yield Text(_plain(self.title))
        heads = [column[0] for column in texts]
        for row in zip(*(column[1:] for column in texts), strict=True):
            for head, cell in zip(heads, row, strict=True):
                if cell:
                    yield Text(f"{head}: {cell}" if head else cell)
            yield Text()
        if self.caption:
            yield Text(_plain(self.caption))


def fitted_widths(widths: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Columns' widths reduced to fit into `room`, the widest first and none below its least; None where that is too wide."""
    if sum(least) > room:
        return None
    fitted = list(widths)
    while sum(fitted) > room:
        widest = max((place for place in range(len(fitted)) if fitted[place] > least[place]), key=fitted.__getitem__)
        fitted[widest] -= 1
    return fitted


def longest_word(texts: Iterable[str]) -> int:
    """The columns that the longest word of some texts takes."""
    return max((cell_len(word) for text in texts for word in text.split()), default=0)


def text_width(text: str) -> int:
    """The columns that a text of one or more lines takes."""
    return max(map(cell_len, text.split("\n")))


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
