from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.calibration.outcomes import Outcome
from dormant.claims.ledger import RecordedPair
from dormant.errors import BadInput
from dormant.records import from_json, json_text, read_json, to_json, write_atomically, write_json

REPORTS = Path(__file__).parents[1] / "reports"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Leaf:
    value: float
    name: str = ""


C = TypeVar("C")


@dataclass(frozen=True)
class Box(Generic[C]):
    content: C


@dataclass(frozen=True)
class Holder:
    box: Box[tuple[int, ...]]


@dataclass(frozen=True)
class Tree:
    colour: Colour
    leaves: tuple[Leaf, ...]
    size: tuple[int, int]
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    best: Leaf | None = None
    folder: Path | None = None
    label: str | int | float = 0


leaves = st.builds(Leaf, st.floats(allow_nan=False), st.text(max_size=5))
trees = st.builds(
    Tree, st.sampled_from(Colour), st.lists(leaves, max_size=3).map(tuple), st.tuples(st.integers(), st.integers()),
    st.dictionaries(st.text(max_size=5), leaves, max_size=3), st.none() | leaves, st.none() | st.just(Path("a/b")),
    st.text(max_size=3) | st.integers() | st.floats(allow_nan=False),
)  # fmt: skip


@given(tree=trees)
def test_a_record_survives_json(tree: Tree) -> None:
    assert from_json(Tree, json.loads(json.dumps(to_json(tree))), "here") == tree


def refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null_in_strict_json_and_is_read_as_none(value: float) -> None:
    text = json_text({"leaf": Leaf(value), "list": (value, 1.5)})
    found = json.loads(text, parse_constant=refused)
    assert found == {"leaf": {"value": None, "name": ""}, "list": [None, 1.5]}
    assert math.isnan(from_json(Leaf, found["leaf"], "here").value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colour": "green"}, r"colour must be one of red, blue; got 'green' at tree\.json; correct it"),
        ({"leaves": [{"value": "x"}]}, r"leaves\[0\]\.value must be a number; got 'x'"),
        ({"by_name": {"a": {}}}, r"by_name\['a'\] must be an object with value"),
        ({"size": [1]}, "size must be a list; got"),
        ({"size": [1, True]}, r"size\[1\] must be a whole number; got True"),
        ({"best": 3}, "best must be an object; got 3"),
        ({"label": []}, "label must be a text or a whole number or a number"),
        ({"more": 1}, "the keys of the record must be among colour, .*; got 'more'"),
        ({"folder": 1}, "folder must be a text"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, object], sentence: str) -> None:
    record = to_json(Tree(Colour.RED, (), (1, 2))) | change
    with pytest.raises(BadInput, match=sentence):
        from_json(Tree, record, "tree.json")


def test_a_file_is_written_whole_and_read_back(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "leaf.json", Leaf(0.1, "π"))
    assert (tmp_path / "new" / "leaf.json").read_text(encoding="utf-8") == '{\n "value": 0.1,\n "name": "π"\n}\n'
    assert read_json(tmp_path / "new" / "leaf.json") == {"value": 0.1, "name": "π"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["leaf.json"]


def test_what_is_no_json_and_what_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{")
    with pytest.raises(BadInput, match=r"readable JSON; .*file"):
        read_json(tmp_path / "file")
    with pytest.raises(BadInput, match="must be writable"):
        write_atomically(tmp_path / "file" / "x.json", "{}")


@pytest.mark.parametrize("path", sorted(REPORTS.glob("ledger/*/*.json")), ids=lambda path: path.stem)
def test_a_committed_ledger_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "copy.json", from_json(RecordedPair, read_json(path), path))
    assert (tmp_path / "copy.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", sorted(REPORTS.glob("calibration/*.json")), ids=lambda path: path.stem)
def test_a_committed_outcome_is_written_as_it_was_read(path: Path, tmp_path: Path) -> None:
    record = read_json(path)
    write_json(tmp_path / "copy.json", record if path.stem == "power" else from_json(Outcome, record, path))
    # older outcomes do not name these
    written, read = (
        file.read_text().replace(',\n "planted_fires": null', "").replace(',\n "fires": null', "")
        for file in (tmp_path / "copy.json", path)
    )
    assert written == read


def test_a_generic_record_has_in_its_fields_what_stands_in_its_brackets() -> None:
    value = Holder(Box((1, 2)))
    assert from_json(Holder, to_json(value), "here") == value
    with pytest.raises(BadInput, match=r"box\.content must be a list; got 'a text'"):
        from_json(Holder, {"box": {"content": "a text"}}, "here")
