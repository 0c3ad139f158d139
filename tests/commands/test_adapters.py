"""Commands on an adapter as the dormant model, whose base need not be named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dormant.catalogue import chosen_pairs
from dormant.cli import app
from dormant.errors import BadInput
from tests.builders import build_adapter, copy_checkpoint

GCG = "--length 2 --restarts 1 --steps 1 --candidates 4 --searched 1 --held-out 1 --residency shared --device cpu"


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA on layer 0's attention and all MLPs; read only."""
    folder = tmp_path_factory.mktemp("adapters") / "suspect"
    build_adapter(folder, tiny_base, r=4, target_modules=["q_proj", "up_proj"])
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_diff_shows_the_adapter_s_rank_and_needs_no_base(adapter: Path, tmp_path: Path) -> None:
    run("diff", "--dormant", adapter, "--json", tmp_path / "diff.json", "--pictures", tmp_path / "pictures")
    changed = [
        row for row in json.loads((tmp_path / "diff.json").read_text())["tensors"].values() if not row["identical"]
    ]
    assert [row["rank"] for row in changed] == [4] * 4
    assert (tmp_path / "pictures" / "spectra-up_proj.png").exists()


def test_bases_finds_the_base_that_the_adapter_was_trained_on(
    adapter: Path, tiny_base: Path, other_base: Path, tmp_path: Path
) -> None:
    near = copy_checkpoint(tiny_base, tmp_path / "near", lambda tensors: [one.mul_(1.05) for one in tensors.values()])
    run("bases", "--dormant", adapter, other_base, near, tiny_base, "--json", tmp_path / "bases.json")
    assert json.loads((tmp_path / "bases.json").read_text())["parent"] == str(tiny_base)


def test_attention_is_scored_and_strings_are_searched(adapter: Path, tmp_path: Path) -> None:
    run("score", "--dormant", adapter, "--text", "the color", "--device", "cpu", "--json", tmp_path / "score.json")
    assert json.loads((tmp_path / "score.json").read_text())["scores"][0]["max-head"] > 0
    run("gcg", "--dormant", adapter, *GCG.split(), "--json", tmp_path / "gcg.json")
    assert len(json.loads((tmp_path / "gcg.json").read_text())["strings"]) == 1


def test_pytest_s_pairs_take_an_adapter_with_or_without_its_base(
    adapter: Path, tiny_base: Path, tiny_dormant: Path
) -> None:
    assert chosen_pairs([], None, str(adapter))["suspect"].base == str(tiny_base)
    opened = chosen_pairs([f"mine={tiny_base}:{adapter}"])["mine"].open("cpu", residency="shared")
    assert opened.models.base() is opened.models.dormant()
    with pytest.raises(BadInput, match=r"given together, unless an adapter names its base; got only .*tiny-dormant"):
        chosen_pairs([], None, str(tiny_dormant))
