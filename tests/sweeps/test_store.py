from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec import get_filesystem_class

from dormant.errors import BadInput
from dormant.sweeps.attempt import Seat, run_attempt
from dormant.sweeps.executor import Wish
from dormant.sweeps.job import Job, State, read_attempts
from dormant.sweeps.local import LocalExecutor
from dormant.sweeps.run import HOLDER, one_sweep, run_jobs
from dormant.sweeps.store import Store, scratch, store_of
from tests.sweeps.work import STEPS, Killing, counted_job, in_the_middle, refuse

OFTEN = 0.02  # seconds between two puts


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    root = {"memory": f"memory://{uuid.uuid4().hex}", "file": f"file://{tmp_path}/store"}[request.param]
    return Store(root, OFTEN)


def kept(job: Job, store: Store) -> Job:
    return replace(job, store=store.at(job.name))


def test_files_are_written_read_listed_and_removed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x00\xff")
    assert (store.names(), store.read("a/b.json"), store.exists("a")) == ([], None, False)
    store.write("a/b.json", "π")
    store.put(tmp_path / "file", "a/c")
    assert (sorted(store.names()), store.read("a/b.json"), store.exists("a")) == (["a/b.json", "a/c"], "π", True)
    store.get(tmp_path / "copy")
    assert (tmp_path / "copy" / "a" / "c").read_bytes() == b"\x00\xff"
    store.remove("a/c")
    store.remove("never there")
    assert (store.names(), store.at("a").names()) == (["a/b.json"], ["b.json"])


def test_a_file_that_is_cut_off_is_absent(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("whole")

    def die(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(get_filesystem_class(store.url.partition(":")[0]), "mv", die)
    with pytest.raises(ConnectionError):
        store.write("one", "text")
    with pytest.raises(ConnectionError):
        store.put(tmp_path / "file", "one")
    assert not store.exists("one")
    assert store.names() == []


def test_a_jobs_files_lie_in_its_store_alone(store: Store, tmp_path: Path) -> None:
    job = kept(counted_job("job", tmp_path), store)
    assert not job.done
    run_attempt(job, Seat(Path.cwd()))
    assert job.done
    assert [set(entry) & {"began", "ended"} for entry in read_attempts(job)] == [{"began"}, {"ended"}]
    assert {"attempts.jsonl", "computed.txt", "log.txt", "result.json", "steps.jsonl"} == set(job.store.names())
    assert [path.name for path in (tmp_path / "job").iterdir()] == [".lock"]


def test_without_all_that_belongs_to_it_there_is_no_result(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, put = kept(counted_job("job", tmp_path), Store(store.url)), Store.put

    def one_file_fails(self: Store, file: Path, name: str) -> None:
        if name == "steps.jsonl":
            raise ConnectionError("gone")
        put(self, file, name)

    with monkeypatch.context() as broken:
        broken.setattr(Store, "put", one_file_fails)
        with pytest.raises(ConnectionError):
            run_attempt(job, Seat(Path.cwd()))
    assert not job.done
    run_attempt(job, Seat(Path.cwd()))
    assert job.done


def test_killed_jobs_go_on_from_what_their_store_has(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store", OFTEN)
    jobs = [kept(counted_job(f"job-{n}", tmp_path / "work", seconds=1.0), store) for n in range(2)]
    failing = kept(Job("refuse", tmp_path / "work/refuse", tmp_path / "work/refuse/result.json", refuse), store)
    executor = Killing(LocalExecutor(Wish(workers=2)), jobs[:1], in_the_middle)
    found = run_jobs([*jobs, failing], executor)
    assert [status.state for status in found] == [State.DONE, State.DONE, State.FAILED]
    assert [status.attempts for status in found] == [2, 1, 1]
    assert found[2].reason == "this must be right; got wrong at here; mend it"
    for job in jobs:
        computed = (job.place.read("computed.txt") or "").split()
        assert sorted(set(computed)) == [str(number) for number in range(STEPS)]
        assert len(computed) <= STEPS + 1  # the step that the kill cut off
    again = run_jobs(jobs, LocalExecutor(Wish(workers=2)))
    assert [status.attempts for status in again] == [2, 1]


def test_a_store_belongs_to_one_sweep_and_a_killed_one_of_this_host_is_cleared_away(
    store: Store, tmp_path: Path
) -> None:
    with one_sweep(tmp_path / "here", store):
        mine = store.read(HOLDER)
        assert mine is not None
        store.write(HOLDER, "another-host 7")
        with (
            pytest.raises(BadInput, match=f"got another, by another-host 7 .* remove {HOLDER} there if it was killed"),
            one_sweep(tmp_path / "there", store),
        ):
            pass
    assert not store.exists(HOLDER)
    store.write(HOLDER, mine)
    with one_sweep(tmp_path / "here", store):
        assert store.exists(HOLDER)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("moon://here", "a URL must be one that fsspec serves; got .* at moon://here"),
        ("file:///dev/null/here", "the store must be writable; got .* at file:///dev/null/here"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_sentence(url: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=sentence), one_sweep(tmp_path, Store(url)):
        pass


def test_a_store_whose_package_is_absent_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(BadInput, match="a URL must be one that fsspec serves; got 'Install s3fs"):
        Store("s3://bucket/sweep").read("any")


def test_a_url_is_told_from_a_path_and_has_a_folder_of_its_own() -> None:
    assert store_of("some/folder") is None
    one, other = store_of("s3://bucket/sweep"), store_of("s3://bucket/other")
    assert one is not None
    assert other is not None
    assert scratch(one) != scratch(other)
