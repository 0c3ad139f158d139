"""What the README tells a newcomer to write works as written."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_example_claim_runs_on_the_published_figures(pytester: pytest.Pytester) -> None:
    (example,) = blocks("python")
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


def test_the_example_recipe_is_a_recipe(tmp_path: Path) -> None:
    from dormant.organisms.recipe import read_recipe

    (example,) = blocks("toml")
    (tmp_path / "recipe.toml").write_text(example, encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.toml").name == tomllib.loads(example)["name"]
