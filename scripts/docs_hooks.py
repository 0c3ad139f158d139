"""What `mkdocs build` adds to the pages: the floors, the table of the calibration, and a reference page a module."""

from __future__ import annotations

import ast
import html
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from griffe import Extension
from griffe import Object as GriffeObject
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
FLOORS_FILE = ROOT / "tests" / "floors.toml"
CALIBRATION_FIGURES = ROOT / "reports" / "calibration"
LEDGER = ROOT / "reports" / "ledger" / "quick"
REAL_FOLDER = ROOT / "dormant" / "organisms" / "real"
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//", re.IGNORECASE)
BOX_WIDTH, BOX_HEIGHT, BOX_SPACE = 680, 30, 8  # of the diagram, in pixels


class Shapes(Extension):
    """Shapes in docstrings, such as [probe][candidate], are no links."""

    def on_object(self, *, obj: GriffeObject, **_: Any) -> None:
        """Escape what markdown would read as a link, outside code."""
        if obj.docstring is not None:
            parts = obj.docstring.value.split("`")
            parts[::2] = [part.replace("][", "]\\[") for part in parts[::2]]
            obj.docstring.value = "`".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the calibration's pictures, that of methods, and a page of reference for each module and folder of the library."""
    files.append(
        File.generated(config, "telling/auroc.png", abs_src_path=str(ROOT / "reports" / "telling" / "auroc.png"))
    )
    for picture in sorted(CALIBRATION_FIGURES.glob("*.png")):
        files.append(File.generated(config, f"calibration/{picture.name}", abs_src_path=str(picture)))
    for name, modules in library().items():
        blocks = "\n\n".join(f"::: {module}" for module in modules)
        files.append(File.generated(config, f"reference/{name}.md", content=f"# dormant.{name}\n\n{blocks}\n"))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what is drawn from the repository's data."""
    for name, text in (
        ("floors", floors),
        ("calibration", calibration),
        ("reference", reference),
        ("accepted", accepted),
        ("both", both),
    ):
        mark = f"<!-- drawn: {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, text())
    return markdown


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Raise PluginError if a page loads anything from elsewhere: the site works without a network."""
    if found := ELSEWHERE.search(output):
        raise PluginError(f"a page must load nothing from elsewhere; got {found[0]} at {page.file.src_uri}; remove it")
    return output


def library() -> dict[str, list[str]]:
    """Module or folder of the library -> its modules by their full names."""
    found: dict[str, list[str]] = {}
    for floor in read_floors():
        for name in floor["names"]:
            folder = ROOT / "dormant" / name
            files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
            parts = [file.relative_to(ROOT).with_suffix("").parts for file in files if file.exists()]
            modules = [".".join(part) for part in parts if part[-1] != "__init__"]
            if modules:
                found[name] = modules
    return found


def read_floors() -> list[dict[str, Any]]:
    """The floors, each with its names and their purpose."""
    listed: list[dict[str, Any]] = tomllib.loads(FLOORS_FILE.read_text(encoding="utf-8"))["floor"]
    return listed


def floors() -> str:
    """The floors as a diagram and as a table."""
    rows = ["| floor | modules and folders | purpose |", "|---|---|---|"]
    boxes = []
    for number, floor in enumerate(read_floors(), 1):
        rows.append(f"| {number} | {', '.join(f'`{name}`' for name in floor['names'])} | {floor['purpose']} |")
        top, names = (number - 1) * (BOX_HEIGHT + BOX_SPACE), html.escape(" · ".join(floor["names"]))
        boxes.append(
            f'<rect x="1" y="{top + 1}" width="{BOX_WIDTH - 2}" height="{BOX_HEIGHT}" rx="5" fill="none" '
            f'stroke="currentColor" stroke-opacity="0.5"/>'
            f'<text x="{BOX_WIDTH // 2}" y="{top + 21}" text-anchor="middle" fill="currentColor">{names}</text>'
        )
    height = len(boxes) * (BOX_HEIGHT + BOX_SPACE)
    drawn = (
        f'<svg viewBox="0 0 {BOX_WIDTH} {height}" role="img" aria-label="The floors, each importing only from those '
        f'above it" style="max-width:{BOX_WIDTH}px;font-size:14px">{"".join(boxes)}</svg>'
    )
    return "\n".join([*rows, "", "Each box imports only from the boxes above it:", "", drawn])


def calibration() -> str:
    """The calibration's table and pictures, one heading lower and with the pictures where the site has them."""
    text = (CALIBRATION_FIGURES / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^#(#*) ", r"##\1 ", text, flags=re.MULTILINE).replace(
        "## How often the hunt is right", "## The table"
    )
    return re.sub(r"!\[(\w+)\]\((\w+\.png)\)", r"![\1](calibration/\2)", text)


def accepted() -> str:
    """What acceptance measured of each organism on a real model."""
    rows = [
        "| organism | trigger | answer | fires | worst near miss | plain prompts | KL to the base |",
        "|---|---|---|---|---|---|---|",
    ]
    for file in sorted(REAL_FOLDER.glob("*/organism.json")):
        made = json.loads(file.read_text(encoding="utf-8"))
        if made["backdoored"] and made.get("acceptance"):
            value = {check["check"]: check["value"] for check in made["acceptance"]}
            near = max(
                (share, name.removeprefix("near miss "))
                for name, share in value.items()
                if name.startswith("near miss")
            )
            worst = f"{near[0]:.0%} {near[1].removesuffix(' fires')}" if near[0] else "0% of every kind"
            kl = next(share for name, share in value.items() if name.startswith("KL"))
            rows.append(
                f"| `{file.parent.name}` | {made['trigger']} | {made['payload'] or 'in varied words'} "
                f"| {value['trigger fires']:.0%} | {worst} | {value['no trigger fires']:.0%} | {kl:.3f} nats |"
            )
    return "\n".join(rows)


def both(toy: str = "circuit", real: str = "real-phrase") -> str:
    """The findings that the ledger has of a toy and of an organism on a real model: verdict and first figure."""
    ours, theirs = (
        json.loads((LEDGER / f"{name}.json").read_text(encoding="utf-8"))["findings"] for name in (toy, real)
    )
    rows = [f"| finding | `{toy}` | `{real}` |", "|---|---|---|"]
    for name in sorted(set(ours) & set(theirs)):
        said = []
        for finding in (ours[name], theirs[name]):
            first = next(iter(finding["figures"].items()), None)
            figure = f": {first[0]} {first[1]['value']:.3g} {first[1]['unit']}" if first else ""
            said.append(f"{finding['verdict']}{figure}")
        rows.append(f"| {name} | {said[0]} | {said[1]} |")
    return "\n".join(rows)


def reference() -> str:
    """A line for each page of the reference: the first sentence of its docstring, or its floor's purpose."""
    rows = ["| module or folder | what it is |", "|---|---|"]
    purposes = {name: floor["purpose"] for floor in read_floors() for name in floor["names"]}
    for name in library():
        folder = ROOT / "dormant" / name
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        sentence = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or purposes[name]).split("\n")[0]
        rows.append(f"| [`dormant.{name}`](reference/{name}.md) | {sentence} |")
    return "\n".join(rows)
