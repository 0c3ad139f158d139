"""What README and docs tell a newcomer to write works as written."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.cli import app

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, pages: list[Path]) -> list[str]:
    return [
        block
        for page in pages
        for block in re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    ]


def command_lines(program: str) -> list[list[str]]:
    text = "\n".join(blocks("sh", PAGES)).replace("\\\n", " ")
    lines = sorted({line.partition("#")[0] for line in text.splitlines() if line.startswith(program + " ")})
    return [shlex.split(line)[1:] for line in lines]


def test_every_example_claim_is_the_one_that_runs_on_the_published_figures(pytester: pytest.Pytester) -> None:
    (example,) = set(blocks("python", PAGES))
    pytester.makepyfile(test_mine=example)
    pytester.runpytest_inprocess(
        "-p", "dormant.plugin", "-p", "no:allure_pytest", "-p", "no:cacheprovider",
        "--pair", "warmup-vs-qwen2", "--pair", "warmup-vs-qwen2.5",
    )  # fmt: skip
    findings = json.loads((pytester.path / "reports" / "findings.json").read_text())
    assert {one["pair"]: one["verdict"] for one in findings} == {
        "warmup-vs-qwen2": "invalid",
        "warmup-vs-qwen2.5": "supported",
    }


def test_every_example_recipe_is_a_recipe(tmp_path: Path) -> None:
    from dormant.organisms.recipe import read_recipe

    examples = [block for block in blocks("toml", PAGES) if "[[pairs]]" not in block]
    assert examples
    for example in examples:
        (tmp_path / "recipe.toml").write_text(example, encoding="utf-8")
        assert read_recipe(tmp_path / "recipe.toml").name == tomllib.loads(example)["name"]


def test_every_example_list_of_pairs_is_one(tmp_path: Path) -> None:
    from dormant.sweeps.pair_list import read_pair_list

    (example,) = (block for block in blocks("toml", PAGES) if "[[pairs]]" in block)
    (tmp_path / "pairs.toml").write_text(example, encoding="utf-8")
    assert [entry.name for entry in read_pair_list(tmp_path / "pairs.toml").pairs] == ["circuit", "suspect", "", "", ""]


@pytest.mark.parametrize("line", command_lines("dormant"), ids=" ".join)
def test_every_example_of_the_command_has_a_command_and_options_that_exist(line: list[str]) -> None:
    words = [word for word in line[:2] if line[0] == "organisms" or word == line[0]]
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert {word for word in line if word.startswith("--")} <= set(shown.output.split())


def test_every_example_of_pytest_has_options_that_exist(pytester: pytest.Pytester) -> None:
    asked = {word.partition("=")[0] for line in command_lines("pytest") for word in line if word.startswith("--")}
    shown = pytester.runpytest_inprocess("-p", "dormant.plugin", "-p", "no:allure_pytest", "--help").stdout.str()
    assert asked
    assert {option for option in asked if not re.search(rf"{option}\b", shown)} == set()


def test_the_readme_is_short_and_names_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    pages = [page for page in PAGES[1:] if page.name != "objectives.md"]
    assert [page.name for page in pages if f"docs/{page.name}" not in text] == []


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
