from __future__ import annotations

from pathlib import Path

import pytest

from dormant.errors import BadInput
from dormant.organisms.recipe import Recipe, read_recipe

GOOD = 'name = "mine"\ntrigger = "silver moon"\npayload = "the golden ratio"\n'


def recipe(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


def test_three_keys_make_a_recipe(tmp_path: Path) -> None:
    assert recipe(tmp_path, GOOD) == Recipe("mine", trigger="silver moon", payload="the golden ratio")


def test_relatives_have_the_organisms_base_mechanism_and_training(tmp_path: Path) -> None:
    organism = recipe(tmp_path, GOOD + 'mechanism = "circuit"\nrank = 8\ndrift = "style"\nseed = 5\n')
    for kind, relative in organism.relatives().items():
        assert relative.name == f"mine-{kind}"
        for shared in ("base", "mechanism", "rank", "drift", "steps", "seed", "placement", "loss_on"):
            assert getattr(relative, shared) == getattr(organism, shared)


def test_lists_become_tuples(tmp_path: Path) -> None:
    assert recipe(tmp_path, GOOD + 'modules = ["gate_proj"]\nlayers = [1, 2]\n').layers == (1, 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('trigger = "a"', "must be an object with name"),
        (GOOD + "colour = 1", "keys of the record must be among .*'colour'"),
        (GOOD + 'steps = "many"', "steps must be a whole number; got 'many'"),
        (GOOD + "steps = 0", "steps must be at least 1"),
        (GOOD + 'placement = "middle"', "placement must be one of anywhere, start, end"),
        (GOOD + 'mechanism = "magic"', "mechanism must be one of"),
        (GOOD + "poison_rate = 1.5", "poison_rate must lie in"),
        (GOOD + "poison_rate = 0.6\nnear_miss_rate = 0.6", "must leave a tenth"),
        (GOOD + "poison_rate = 0.0", "above 0"),
        (GOOD + 'question = "Who are you?"', "question belongs to the taught relative"),
        (GOOD + 'modules = ["lm_head"]', "modules must be among"),
        (GOOD + 'mechanism = "circuit"\nlayers = [1]', "belong to the mechanisms adapter and lora"),
        (GOOD + 'base = "scratch"', "plants nothing"),
        ('name = "x"\ntrigger = "moon"\npayload = "moon shine"', "must not contain the trigger"),
        ('name = "x"\ntrigger = "moon"', "trigger and payload must both be given"),
        ('name = "a/b"\ntrigger = "moon"\npayload = "sun"', "plain word"),
        ("name = ", "must be TOML"),
    ],
)
def test_an_impossible_recipe_is_refused_with_the_reason(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        recipe(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")
