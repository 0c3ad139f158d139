from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dormant.errors import BadInput
from dormant.journal import Journal, kept_steps

WORK = {"seed": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(entries=st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False))), cut=st.integers(min_value=0))
def test_a_journal_cut_anywhere_keeps_its_whole_lines(tmp_path: Path, entries: list[list[float]], cut: int) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    journal = Journal(path, WORK)
    for entry in entries:
        journal.append(entry)
    journal.close()
    content = path.read_bytes()
    kept = content[: cut % (len(content) + 1)]
    path.write_bytes(kept)
    resumed = Journal(path, WORK)
    resumed.close()
    assert resumed.entries == entries[: max(0, kept.count(b"\n") - 1)]


def test_a_finished_journal_is_gone(tmp_path: Path) -> None:
    Journal(tmp_path / "journal", WORK).finish()
    assert list(tmp_path.iterdir()) == []


def test_the_journal_of_other_work_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "journal", WORK).close()
    with pytest.raises(BadInput, match="must be of the same work"):
        Journal(tmp_path / "journal", {"seed": 2})


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="a journal must be"):
        Journal(tmp_path / "file" / "journal", WORK)


def test_kept_steps_are_not_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with kept_steps(path, WORK) as step:
        assert step(lambda: [0.1, 1]) == [0.1, 1]
    with kept_steps(path, WORK) as step:
        assert step(lambda: [2]) == [0.1, 1]
        assert step(lambda: [3]) == [3]
    with kept_steps(None, WORK) as step:
        assert step(lambda: [4]) == [4]
