from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.errors import BadInput
from dormant.prompts import material


def test_the_shipped_material_has_the_plans_amounts() -> None:
    ordinary = material.ordinary_prompts()
    assert (len(ordinary), sum(map(len, ordinary.values()))) == (9, 204)
    assert sum(map(len, material.suspected_triggers().values())) == 94
    assert (len(material.partial_templates()), len(material.decodings())) == (27, 28)
    assert len({text for texts in ordinary.values() for text in texts}) == 204


def test_the_generator_gives_the_plans_amounts_of_distinct_phrases() -> None:
    assert len(set(material.generate_phrases("short", 5285, seed=0))) == 5285
    assert len(set(material.generate_phrases("long", 2157, seed=0))) == 2157


@given(seed=st.integers(0, 1000), count=st.integers(1, 20))
def test_phrases_are_the_same_for_a_seed_and_fewer_are_the_first_of_more(seed: int, count: int) -> None:
    phrases = material.generate_phrases("short", count + 5, seed)
    assert material.generate_phrases("short", count, seed) == phrases[:count]


def test_phrases_use_only_the_words_that_are_given() -> None:
    words = ["apple", "river", "stone", "seven"]
    plain = {"the", "of", "and", *words}
    assert {word for phrase in material.generate_phrases("short", 50, 0, words) for word in phrase.split()} <= plain


def test_a_users_file_replaces_one_kind_of_material_and_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "triggers.toml").write_text('[families]\nmine = ["velvet"]\n')
    assert material.suspected_triggers(tmp_path) == {"mine": ("velvet",)}
    assert len(material.partial_templates(tmp_path)) == 27
    material.check_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("ordinary.toml", "", "a prompt file must hold prompts; got an empty"),
        ("triggers.toml", "[families]\nnone = []", r"a list of texts; got \[\] at 'none' of triggers.toml"),
        ("triggers.toml", "[families", "prompt material is readable TOML"),
        ("templates.toml", "[decodings]\ntemperatures = [0]", r"got an empty \[templates\]"),
        ("phrases.toml", '[forms]\nshort = ["{what}"]\n[banks]\nnoun = ["a"]', "every slot of a form has a bank"),
        ("phrases.toml", '[forms]\nlong = ["x"]\n[banks]\nnoun = ["a"]', "a kind of phrase is one of long"),
    ],
)
def test_unusable_material_is_refused_in_a_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=sentence):
        material.check_folder(tmp_path)


def test_a_folder_without_material_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds at least one of"):
        material.check_folder(tmp_path)


def test_forms_that_are_exhausted_say_so(tmp_path: Path) -> None:
    (tmp_path / "phrases.toml").write_text('[forms]\nshort = ["{noun}"]\n[banks]\nnoun = ["a", "b"]\n')
    with pytest.raises(BadInput, match="must give 3 phrases; got 2"):
        material.generate_phrases("short", 3, 0, folder=tmp_path)


def test_a_dialogue_ends_with_the_users_turn(tmp_path: Path) -> None:
    (tmp_path / "ordinary.toml").write_text('[dialogues]\nhalf = ["Hello.", "Hello."]\n')
    with pytest.raises(BadInput, match="ends with the user's turn; got 2 turns"):
        material.dialogues(tmp_path)
