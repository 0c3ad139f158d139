"""The layout that the README promises: data flows one way."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import dormant

ROOT = Path(dormant.__file__).parent
FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "errors",
        "statistics journal progress records",
        "checkpoints",
        "prompts",
        "weights",
        "pairs",
        "catalogue",
        "inference",
        "layer0",
        "behaviour activations organisms search",
        "pictures",
        "hunt",
        "claims calibration",
        "report",
        "harness",
        "plugin commands",
        "cli",
    )
)
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}


CONSTANT = re.compile(r"^([A-Z][A-Z_0-9]+)\b(?: *:[^=\n]+)? = ", re.MULTILINE)


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


def test_no_constant_is_defined_twice_under_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for folder in ("dormant", "hypotheses", "scripts"):
        for file in (ROOT.parent / folder).rglob("*.py"):
            for name in CONSTANT.findall(file.read_text(encoding="utf-8")):
                places[name].append(str(file.relative_to(ROOT.parent)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
