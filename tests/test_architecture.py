"""The floors of the library, as docs/architecture.md shows them: a module imports only from floors above its own."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import dormant

ROOT = Path(dormant.__file__).parent
RUN_MODELS = (
    "dormant/inference/",
    "dormant/checkpoints/trial_pass.py",  # whether a model that was loaded can be measured at all
    "dormant/activations/patching.py",
    "dormant/organisms/training.py",
    "dormant/prompts/answer_opening.py",  # what a prompt is depends on it
)
# A pair's prompts end behind what both models always begin with, which only `Pair.prompter` knows.
OWN_PROMPTER = re.compile(
    r"(?:Prompter|Conversations)\(\w+(?:\.pair)?\.(?:base|dormant)\.tokenizer\)(?!\.candidate_ids)"
)
OF_A_FORWARD_PASS = {"logits_to_keep", "past_key_values", "inputs_embeds", "use_cache", "DynamicCache"}
FLOORS = tomllib.loads((Path(__file__).parent / "floors.toml").read_text(encoding="utf-8"))["floor"]
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor["names"]}


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


def runs_a_model(node: ast.AST) -> bool:
    """Whether it names an argument of a forward pass, generates, asks for the decoder, or reads the logits of a call."""
    match node:
        case ast.keyword(arg=name) | ast.Name(id=name) | ast.alias(name=name) | ast.Constant(value=name):
            return name in OF_A_FORWARD_PASS
        case ast.Attribute(attr="logits", value=value):
            return isinstance(value, ast.Call)
        case ast.Attribute(attr=name):
            return name in ("generate", "get_decoder")
    return False


def test_only_the_floor_of_inference_runs_a_model() -> None:
    files = {
        str(file.relative_to(ROOT.parent)): file
        for name in ("dormant", "hypotheses")
        for file in (ROOT.parent / name).rglob("*.py")
    }
    running = {
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, file in files.items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if runs_a_model(node)
    }
    assert not {place for place in running if not place.startswith(RUN_MODELS)}
    assert all(any(place.startswith(file) for place in running) for file in RUN_MODELS)


def test_no_constant_is_defined_twice_under_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for folder in ("dormant", "hypotheses", "scripts"):
        for file in (ROOT.parent / folder).rglob("*.py"):
            for name in CONSTANT.findall(file.read_text(encoding="utf-8")):
                places[name].append(str(file.relative_to(ROOT.parent)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_prompts_of_a_pair_are_written_by_its_own_prompter() -> None:
    files = [file for folder in ("dormant", "hypotheses", "scripts") for file in (ROOT.parent / folder).rglob("*.py")]
    found = [file.name for file in files if OWN_PROMPTER.search(file.read_text(encoding="utf-8"))]
    # layer0: the ids before a slot, for a scan of weights; pairs: what a prompter for the pair is made from
    assert sorted(found) == ["layer0.py", "pairs.py"]


def test_no_file_of_the_package_has_more_than_350_lines() -> None:
    lines = {file.name: file.read_text(encoding="utf-8").count("\n") for file in ROOT.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > 350} == {}
