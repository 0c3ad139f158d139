"""Twelve pairs of the zoo by three verbs, where a node or two workers are lost: the same results, nothing done twice."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dormant.catalogue import ZOO_PAIRS
from dormant.commands.verbs import Plan
from dormant.records import read_json, write_json
from dormant.sweeps.executor import Wish, executor_named
from dormant.sweeps.job import Job, State
from dormant.sweeps.local import LocalExecutor
from dormant.sweeps.outcome import RESULT
from dormant.sweeps.pair_list import ListedPair, PairEntry, PairList, listed_pairs
from dormant.sweeps.run import run_jobs
from tests.sweeps.work import Killing, Losing, entries_of

TWELVE = [name for name in ZOO_PAIRS if name.split("-")[0] in ("circuit", "pi", "token") and name != "pi-wrong-base"]
# One case each of ten claims, of those that cost least: a tenth to a fifth of a processor second.
TEN_CLAIMS = (
    "low_rank or bias_only or geometry or token_open or norms-layer-0 or k_proj-any or whole-delta or payload-down_proj "
    "or first-band or q_proj-embedding"
)
CLAIM_FILES = ("hypotheses/weights", "hypotheses/layer0", "hypotheses/test_premises.py")
# By verb the options of every pair, the words for pytest, and what must be the same.
VERBS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "diff": ({}, (), "delta.json"),
    "profile": ({"prompts": 2, "positions": 1, "keep": 1}, (), "profile.json"),
    "claims": ({}, ("-m", "hypothesis", "-k", TEN_CLAIMS, *CLAIM_FILES), "findings.json"),
}
TWO = Wish(workers=2, threads=1)


def jobs_of(folder: Path) -> list[Job]:
    """A job a pair, which runs the three verbs in folders of their own."""
    return [
        Job(one.name, at, at / "all.json", partial(run_all, one, at))
        for one in listed_pairs(PairList(tuple(map(PairEntry, TWELVE))), folder / "pairs.toml")
        if (at := folder / one.name)
    ]


def run_all(one: ListedPair, folder: Path) -> None:
    """Each verb that is not done; one that ends adds a line."""
    for verb, (options, words, _) in VERBS.items():
        job = Plan(verb, folder / verb, words).job(ListedPair(one.pair, options))
        if not job.done:
            job.work()
            with (folder / "ended.txt").open("a", encoding="utf-8") as file:
                file.write(f"{verb}\n")
    write_json(folder / "all.json", list(VERBS))


def without_commit(file: Path) -> str:
    """A result's text; a commit to this repository while the test runs is no other result."""
    return re.sub(r'("commit": ").*', r"\1", file.read_text(encoding="utf-8"))


def in_claims(job: Job) -> bool:
    return (job.folder / "profile" / job.name / RESULT).exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """The jobs after a run on this machine in which nothing is lost."""
    jobs = jobs_of(tmp_path_factory.mktemp("undisturbed"))
    run_jobs(jobs, LocalExecutor(TWO))
    return jobs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize("place", ["ray", "local", "slurm:local"])
def test_twelve_pairs_give_what_they_give_undisturbed_also_where_a_node_or_two_workers_are_lost(
    place: str, tmp_path: Path, undisturbed: list[Job], request: pytest.FixtureRequest
) -> None:
    jobs = jobs_of(tmp_path / "jobs")
    executor: Losing | Killing
    if place == "ray":
        cluster = request.getfixturevalue("cluster")
        executor = Losing(executor_named(f"ray:{cluster.address}", Wish(), tmp_path), cluster, jobs, done=2)
    else:
        pytest.importorskip("submitit", reason="submitit is not installed: pip install 'dormant[slurm]'")
        executor = Killing(executor_named(place, TWO, tmp_path), [jobs[0], jobs[5]], in_claims)
    found = run_jobs(jobs, executor)
    assert executor.lost == (1 if place == "ray" else 2)
    assert [status.state for status in found] == [State.DONE] * 12
    assert sum(status.attempts for status in found) == 12 + executor.lost
    claims = set[str]()
    for ours, theirs in zip(jobs, undisturbed, strict=True):
        assert [entry["ended"] for entry in entries_of(ours) if "ended" in entry] == ["done"]
        assert (ours.folder / "ended.txt").read_text().split() == list(VERBS)
        for verb, (_, _, file) in VERBS.items():
            ours_file, theirs_file = (job.folder / verb / job.name / RESULT / file for job in (ours, theirs))
            assert ours_file.read_bytes() == theirs_file.read_bytes()
        claims |= {finding["claim"] for finding in read_json(ours_file)}
    assert len(claims) == 10
