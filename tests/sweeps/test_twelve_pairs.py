"""Twelve pairs of the zoo by three verbs, where a node or two workers are lost: the same results, nothing done twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dormant.catalogue import ZOO_PAIRS
from dormant.commands.verbs import UNFINISHED, Plan
from dormant.records import read_json
from dormant.sweeps.executor import Wish, executor_named
from dormant.sweeps.job import Job, State
from dormant.sweeps.local import LocalExecutor
from dormant.sweeps.outcome import RESULT
from dormant.sweeps.pair_list import PairEntry, PairList, listed_pairs
from dormant.sweeps.run import run_jobs
from tests.sweeps.work import Killing, Losing, entries_of

TWELVE = [name for name in ZOO_PAIRS if name.split("-")[0] in ("circuit", "pi", "token") and name != "pi-wrong-base"]
TEN_CLAIMS = (  # of those that read weights, with the fewest figures
    "low_rank or bias or focus_heads or v_direction or names_payload or planted_order "
    "or (q_proj and (concentration or norm_ranking or vocab_projection))"
)
CLAIM_FILES = ("hypotheses/weights", "hypotheses/layer0")
# By verb the options of every pair, the words for pytest, and what must be the same.
VERBS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "diff": ({}, (), "delta.json"),
    "profile": ({"prompts": 8}, (), "profile.json"),
    "claims": ({}, ("-m", "hypothesis", "-k", TEN_CLAIMS, *CLAIM_FILES), "findings.json"),
}
TWO = Wish(workers=2, threads=1)


def jobs_of(verb: str, folder: Path) -> list[Job]:
    options, words, _ = VERBS[verb]
    listed = listed_pairs(PairList(tuple(map(PairEntry, TWELVE)), options=options), folder / "pairs.toml")
    return [Plan(verb, folder, words).job(one) for one in listed]


def works(job: Job) -> bool:
    return (job.folder / UNFINISHED).exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Job]]:
    """The jobs of a verb after a run on this machine in which nothing is lost."""
    ran: dict[str, list[Job]] = {}

    def run(verb: str) -> list[Job]:
        if verb not in ran:
            ran[verb] = jobs_of(verb, tmp_path_factory.mktemp(verb))
            run_jobs(ran[verb], LocalExecutor(TWO))
        return ran[verb]

    return run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["ray", "local", "slurm:local"])
def test_twelve_pairs_give_what_they_give_undisturbed_also_where_a_node_or_two_workers_are_lost(
    place: str,
    verb: str,
    tmp_path: Path,
    undisturbed: Callable[[str], list[Job]],
    request: pytest.FixtureRequest,
) -> None:
    there, here, file = jobs_of(verb, tmp_path / "there"), undisturbed(verb), VERBS[verb][2]
    executor: Losing | Killing
    if place == "ray":
        cluster = request.getfixturevalue("cluster")
        executor = Losing(executor_named(f"ray:{cluster.address}", Wish(), tmp_path), cluster, there, done=2)
    else:
        pytest.importorskip("submitit", reason="submitit is not installed: pip install 'dormant[slurm]'")
        executor = Killing(executor_named(place, TWO, tmp_path), [there[0], there[5]], works)
    found = run_jobs(there, executor)
    assert executor.lost == (1 if place == "ray" else 2)
    assert [status.state for status in found] == [State.DONE] * 12
    assert sum(status.attempts for status in found) == 12 + executor.lost
    for job in there:
        ended = [entry["ended"] for entry in entries_of(job) if "ended" in entry]
        assert ended == ["done"]
    for ours, theirs in zip(there, here, strict=True):
        assert (ours.folder / RESULT / file).read_bytes() == (theirs.folder / RESULT / file).read_bytes()
    if verb == "claims":
        findings = [finding for job in there for finding in read_json(job.folder / RESULT / file)]
        assert len({finding["claim"] for finding in findings}) == 10
