"""The table of bugs fits the project, and one that is noticed in too few places fails the run."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dormant.errors import BadInput
from dormant.records import write_json

ROOT = Path(__file__).parents[2]


def script() -> dict[str, Any]:
    """What scripts/mutants.py defines."""
    specification = importlib.util.spec_from_file_location("mutants", ROOT / "scripts" / "mutants.py")
    assert specification is not None
    assert specification.loader is not None
    module = sys.modules["mutants"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return vars(module)


SCRIPT = script()
MUTANTS = SCRIPT["read_mutants"]()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_still_replaces_what_stands_exactly_once(mutant: Any) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert SCRIPT["mutated"](text, mutant) != text
    assert all((ROOT / name).exists() for name in mutant.tests)
    assert len(mutant.tests) + len(mutant.ledger) > 1


def test_there_are_enough_bugs_each_with_a_name_of_its_own_and_six_are_quick() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 24
    assert sum(mutant.quick for mutant in MUTANTS) == 6
    assert not any(mutant.ledger for mutant in MUTANTS if mutant.quick)


def test_a_stale_table_is_named() -> None:
    gone, twice = (replace(MUTANTS[0], old=text) for text in ("no such line", "return"))
    for mutant in (gone, twice):
        with pytest.raises(BadInput, match=r"exactly once.*the table is stale"):
            SCRIPT["mutated"]("return\nreturn\n", mutant)


def test_a_planted_bug_is_taken_out_again(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("a = 1\n")
    mutant = replace(MUTANTS[0], file="module.py", old="a = 1", new="a = 2")
    with SCRIPT["planted"](tmp_path, mutant):
        assert file.read_text() == "a = 2\n"
    assert file.read_text() == "a = 1\n"


def test_the_ledger_counts_once_and_what_failed_before_does_not() -> None:
    noticed = SCRIPT["Noticed"]
    where = noticed(("tests/test_a.py",), ("row 1", "row 2"))
    assert where.places == 2
    assert where.beyond(noticed((), ("row 1", "row 2"))).places == 1


def test_a_run_is_of_one_state_of_the_entry_its_file_and_its_tests(tmp_path: Path) -> None:
    mutant = replace(MUTANTS[0], file="module.py", tests=("tests/test_module.py", "tests/folder"))
    files = [tmp_path / name for name in ("module.py", "tests/test_module.py", "tests/folder/test_other.py")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a = 1\n")
    digests = [SCRIPT["state_digest"](mutant, tmp_path), SCRIPT["state_digest"](replace(mutant, old="b"), tmp_path)]
    for file in files:
        file.write_text("a = 2\n")
        digests.append(SCRIPT["state_digest"](mutant, tmp_path))
    assert len(set(digests)) == len(digests)


def test_a_bug_that_was_noticed_is_planted_again_once_its_state_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, names = SCRIPT["Run"], [mutant.name for mutant in MUTANTS[:4]]
    planted: list[str] = []

    def runs(mutants: list[Any], tested: bool) -> list[tuple[Any, Any]]:
        planted.extend(mutant.name for mutant in mutants)
        return [
            (one, run(SCRIPT["state_digest"](one), SCRIPT["Noticed"](("tests/a.py", "tests/b.py")))) for one in mutants
        ]

    monkeypatch.setitem(SCRIPT, "_runs", runs)
    (_, fresh), (_, other), (_, kept) = runs(MUTANTS[1:4], True)
    stale, missed = replace(fresh, digest="0"), replace(other, noticed=SCRIPT["Noticed"](("tests/a.py",)))
    record = tmp_path / "record.json"
    write_json(record, dict(zip(names[1:], (stale, missed, kept), strict=True)))
    planted.clear()
    assert SCRIPT["main"](["--only", *names, "--record", str(record)]) == 0
    assert planted == names[:3]
    assert set(SCRIPT["read_record"](record)) == set(names)


def test_the_page_is_of_this_table_and_of_the_record() -> None:
    record = SCRIPT["read_record"](ROOT / "reports" / "mutants.json")
    assert (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8") == SCRIPT["page"](MUTANTS, record)
