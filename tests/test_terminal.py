from __future__ import annotations

import ast
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dormant
from dormant.cli import app
from dormant.terminal import Table, console

CELLS = (
    ("warmup-vs-qwen2.5", "[/INST] :smile: [bold]"),
    ("delta-amplification-leaks-payload", "a plain sentence " * 9),
)


def printed(width: int | None) -> str:
    file = StringIO()
    table = Table("claim", "text", "0.123 [0.1, 0.2]", title="Found")
    for cells in CELLS:
        table.add_row(*cells, "3.14")
    console(file, width=width).print(table)
    return file.getvalue()


@pytest.mark.parametrize("width", [20, 80, 100, 140, None])
def test_no_word_of_a_table_is_broken_and_no_text_is_markup(width: int | None) -> None:
    text = printed(width)
    assert {word for cells in CELLS for cell in cells for word in cell.split()} <= set(text.split())
    assert "Found" in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_table_keeps_to_the_terminal(width: int) -> None:
    assert max(map(len, printed(width).splitlines())) <= width


def test_in_a_pipe_a_row_takes_one_line() -> None:
    assert len(printed(None).splitlines()) == 3 + len(CELLS)


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("command", [[], ["diff"], ["profile"], ["organisms", "build"]], ids=" ".join)
def test_help_fits_the_terminal_and_breaks_no_word(command: list[str], width: int) -> None:
    text, wide = (
        CliRunner().invoke(app, [*command, "--help"], terminal_width=columns).output for columns in (width, 400)
    )
    assert max(map(len, text.splitlines())) <= width
    if command:  # the list of commands ends its sentences in dots where they are too long
        assert set(wide.replace("-", " ").split()) <= set(text.replace("-", " ").split())


def test_only_one_place_makes_consoles_and_tables() -> None:
    root = Path(dormant.__file__).parent
    made = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in ("rich.console", "rich.table", "rich.markup")
    }
    assert made == {"terminal.py"}
