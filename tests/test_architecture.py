"""The layout that the README promises: data flows one way."""

from __future__ import annotations

import ast
from pathlib import Path

import dormant

ROOT = Path(dormant.__file__).parent
ORDER = (
    "errors", "journal", "progress", "tokens", "shards", "checkpoints", "models", "prompts", "divergence", "statistics",
    "weights", "pairs", "layer0", "behaviour", "activations", "search", "pictures", "hunt", "organisms", "calibration",
    "claims", "report", "harness", "plugin", "commands", "cli",
)  # fmt: skip


def imported(file: Path) -> set[str]:
    """The project's modules and folders that a file imports when it is imported, and those for types alone left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[1] for name in names if name.startswith("dormant.")}


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} <= {
        *ORDER,
        "__init__",
        "__main__",
    }


def test_a_module_imports_only_from_those_above_it() -> None:
    upward = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in ROOT.rglob("*.py")
        if (place := file.relative_to(ROOT).parts[0].removesuffix(".py")) in ORDER
        for name in imported(file)
        if ORDER.index(name) > ORDER.index(place)
    }
    assert not upward
