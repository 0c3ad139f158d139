"""The floors of the library, as docs/architecture.md shows them: a module imports only from floors above its own."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import dormant

ROOT = Path(dormant.__file__).parent
FLOORS = tomllib.loads((Path(__file__).parent / "floors.toml").read_text(encoding="utf-8"))["floor"]
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor["names"]}


def imported(file: Path) -> set[str]:
    """The project's modules and folders that a file imports anywhere, in functions and for types too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[1] for name in names if name.startswith("dormant.")}


def test_every_module_has_its_place() -> None:
    there = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} <= set(FLOOR)


def test_a_module_imports_only_from_the_floors_above_it() -> None:
    upward = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in ROOT.rglob("*.py")
        if (place := file.relative_to(ROOT).parts[0].removesuffix(".py")) in FLOOR
        for name in imported(file) - {place}
        if FLOOR[name] >= FLOOR[place]
    }
    assert not upward
