from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import Collection

from dormant.catalogue import pairs_of_set
from dormant.errors import BadInput
from dormant.sweeps.pair_list import ListedPair, listed_pairs, open_each, read_pair_list
from tests.builders import copy_checkpoint


def read(folder: Path, text: str) -> list[ListedPair]:
    (folder / "pairs.toml").write_text(text)
    return listed_pairs(read_pair_list(folder / "pairs.toml"), folder / "pairs.toml")


def test_a_list_names_known_pairs_two_checkpoints_and_globs_of_folders(tiny_base: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        copy_checkpoint(tiny_base, tmp_path / "suspects" / name, lambda tensors: None)
    listed = read(
        tmp_path,
        f"""
        base = "{tiny_base}"
        options = {{seed = 1}}
        [[pairs]]
        name = "circuit"
        [[pairs]]
        name = "mine"
        dormant = "suspects/one"
        options = {{seed = 2}}
        [[pairs]]
        folders = "suspects/*"
        """,
    )
    assert [one.name for one in listed] == ["circuit", "mine", "one", "two"]
    assert [one.options["seed"] for one in listed] == [1, 2, 1, 1]
    assert listed[3].pair.base == str(tiny_base)
    assert listed[3].pair.dormant == str(tmp_path / "suspects" / "two")


def test_a_list_names_a_set_of_the_catalogue(tmp_path: Path) -> None:
    listed = read(tmp_path, '[[pairs]]\nset = "calibration"\noptions = {seed = 3}')
    assert [one.pair for one in listed] == [*pairs_of_set("calibration").values()]
    assert {one.options["seed"] for one in listed} == {3}


def test_a_list_names_a_collection_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"org/base": "model", "org/one": "model", "org/text": "dataset", "other/two": "model"}
    items = [
        {"_id": str(number), "id": name, "type": kind, "position": number}
        for number, (name, kind) in enumerate(listed.items())
    ]
    found = Collection(slug="org/c-1", title="c", owner={}, items=items, lastUpdated="2026-01-01T00:00:00.000Z", position=0,
                       private=False, theme="", upvotes=0)  # fmt: skip
    monkeypatch.setattr("huggingface_hub.get_collection", lambda slug: {"org/c-1": found}[slug])
    entries = read(tmp_path, 'base = "org/base"\n[[pairs]]\ncollection = "org/c-1"')
    assert [(one.name, one.pair.base, one.pair.dormant) for one in entries] == [
        ("one", "org/base", "org/one"),
        ("two", "org/base", "other/two"),
    ]


def test_a_collection_out_of_reach_is_a_fault_of_its_entry(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"entry 1: a collection must be one that the hub shows; got .* for 'org/c-1'"):
        read(tmp_path, 'base = "x"\n[[pairs]]\ncollection = "org/c-1"')


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pairs = 3", "pairs must be a list"),
        ("pears = []", "the keys of the record must be among pairs"),
        ("pairs = [", "a list of pairs must be a readable TOML file"),
        ("pairs = []", "it names no pair"),
        ('[[pairs]]\nname = "nobody"', "entry 1: a pair must be a known one or have dormant, folders or collection"),
        ('[[pairs]]\nfolders = "none/*"\nbase = "x"', "entry 1: folders must match checkpoints"),
        ('[[pairs]]\ncollection = "x/y-1"\nname = "z"', "entry 1: an entry with a collection has nothing but its base"),
        ('[[pairs]]\nset = "real"\nname = "z"', "entry 1: an entry with a set has nothing beside it but options"),
        ('[[pairs]]\nset = "huge"', "a set of pairs must be one of zoo, real, calibration, all"),
        ('[[pairs]]\nname = "a/b"\nbase = "x"\ndormant = "y"', "a pair's name must consist of letters"),
        ('[[pairs]]\nname = "pi"\n[[pairs]]\nname = "pi"', "pi stands 2 times in the list"),
        ('[[pairs]]\nname="a"\nbase="x"\ndormant="y"\n[[pairs]]\nname="b"\nbase="x"\ndormant="y"', "b is a once more"),
    ],
)
def test_a_fault_of_the_list_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        read(tmp_path, text)
    assert sentence in str(error.value)


def test_every_pair_that_cannot_be_opened_is_named_at_once(tiny_base: Path, tmp_path: Path) -> None:
    entries = [f'[[pairs]]\nname = "{name}"\nbase = "{tiny_base}"\ndormant = "no/{name}/there"' for name in "ab"]
    listed = read(tmp_path, "\n".join(['[[pairs]]\nname = "warmup-vs-qwen2"', *entries]))
    told = list[str]()
    with pytest.raises(BadInput, match=r"got 2 that cannot: a: .* b: "):
        open_each(listed, lambda one, opened: None, lambda done, total, remark="": told.append(remark))
    assert told == ["warmup-vs-qwen2", "a", "b"]
