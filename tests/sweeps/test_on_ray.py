"""A real Ray cluster of two nodes, of which one is killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dormant.catalogue import ZOO_PAIRS
from dormant.commands.verbs import Plan
from dormant.errors import BadInput
from dormant.sweeps.executor import Executor, Wish, executor_named
from dormant.sweeps.job import Job, Room, State
from dormant.sweeps.local import LocalExecutor
from dormant.sweeps.outcome import RESULT
from dormant.sweeps.pair_list import PairEntry, PairList, listed_pairs
from dormant.sweeps.run import run_jobs
from tests.sweeps.work import computed, counted_job, entries_of, squares

TWELVE = [name for name in ZOO_PAIRS if name.split("-")[0] in ("circuit", "pi", "token") and name != "pi-wrong-base"]
STORE = 80 * 2**20  # bytes, the least that Ray takes
RAY = "ray is not installed: pip install 'dormant[cluster]'"


class Losing:
    """An executor that loses one of its two nodes, of one core each, while both work and so many jobs are done."""

    def __init__(self, executor: Executor, cluster: Any, jobs: Sequence[Job], done: int) -> None:
        self.executor, self.cluster, self.jobs, self.done, self.lost = executor, cluster, jobs, done, False

    def resources(self) -> Room:
        return self.executor.resources()

    def submit(self, job: Job) -> None:
        self.executor.submit(job)

    def poll(self) -> Mapping[str, str]:
        begun = [job for job in self.jobs if not job.done and any("began" in entry for entry in entries_of(job))]
        if not self.lost and len(begun) > 1 and sum(job.done for job in self.jobs) >= self.done:
            self.cluster.remove_node(next(iter(self.cluster.worker_nodes)), allow_graceful=False)
            self.lost = True
        return self.executor.poll()

    def running(self) -> frozenset[str]:
        return self.executor.running()

    def cancel(self) -> None:
        self.executor.cancel()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason=RAY)
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # else any other work of the machine comes first
    made: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE})
    made.add_node(num_cpus=1, object_store_memory=STORE)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_jobs_of_a_node_that_is_lost_go_on_elsewhere_and_nothing_finished_is_done_twice(
    cluster: Any, tmp_path: Path
) -> None:
    jobs = [counted_job(f"job-{n}", tmp_path, seconds=5.0) for n in range(4)]
    executor = Losing(executor_named(f"ray:{cluster.address}", Wish(), tmp_path), cluster, jobs, done=0)
    found = run_jobs(jobs, executor)
    assert executor.lost
    assert [status.state for status in found] == [State.DONE] * 4
    assert sum(status.attempts for status in found) == 5
    assert squares(jobs) == [squares(jobs)[0]] * 4
    assert sum(len(computed(job)) - len(set(computed(job))) for job in jobs) <= 1  # the step that was cut off


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize(
    ("verb", "options", "words", "file"),
    [
        ("diff", {}, (), "delta.json"),
        ("profile", {"prompts": 8}, (), "profile.json"),
        ("claims", {}, ("-m", "hypothesis", "hypotheses/weights"), "findings.json"),
    ],
)
def test_twelve_pairs_of_the_zoo_give_on_a_cluster_that_loses_a_node_what_they_give_on_one_machine(
    verb: str, options: dict[str, Any], words: tuple[str, ...], file: str, cluster: Any, tmp_path: Path
) -> None:
    entries = tuple(PairEntry(name) for name in TWELVE)
    listed = listed_pairs(PairList(entries, options=options), tmp_path / "pairs.toml")
    there, here = ([Plan(verb, tmp_path / place, words).job(one) for one in listed] for place in ("cluster", "machine"))
    executor = Losing(executor_named(f"ray:{cluster.address}", Wish(), tmp_path), cluster, there, done=2)
    found = run_jobs(there, executor)
    assert executor.lost
    assert [status.state for status in found] == [State.DONE] * 12
    assert sum(status.attempts for status in found) == 13
    run_jobs(here, LocalExecutor(Wish(workers=2, threads=1)))
    for ours, theirs in zip(there, here, strict=True):
        assert (ours.folder / RESULT / file).read_bytes() == (theirs.folder / RESULT / file).read_bytes()


def test_a_dead_address_is_one_sentence_within_seconds(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=RAY)
    with pytest.raises(BadInput, match=r"a Ray cluster must answer; got .* at 127.0.0.1:9; start one"):
        executor_named("ray:127.0.0.1:9", Wish(), tmp_path)


def test_ray_that_is_not_installed_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(BadInput, match="--executor ray needs the package ray"):
        executor_named("ray", Wish(), tmp_path)
