"""The groups of a search's restarts as jobs: together they find what the same groups find in one process, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from dormant.journal import kept_steps
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.records import json_text, read_text, to_json, write_atomically
from dormant.search.restarts import (
    GroupResult,
    SearchPlan,
    SearchReport,
    report_of_groups,
    search_group,
    search_key,
)
from dormant.sweeps.job import Job
from dormant.sweeps.parts import PairOfParts, Spread, run_parts

GROUP_RESULT = "search.json"


@dataclass(frozen=True)
class SearchedPair(PairOfParts):
    """The pair of a search, and what the search knows of it."""

    payload: str
    hints: tuple[int, ...] | None


def spread_search(
    pair: SearchedPair, opened: Pair, plan: SearchPlan, spread: Spread, progress: Progress | None = None
) -> SearchReport:
    """The search of `plan`, each of its groups a part, judged in this process; raises BadInput where a part fails."""
    hints = _tensor(pair)
    needs = pair.needs("hunt", opened)
    identity = {"search of": to_json(pair), "key": search_key(opened, plan, pair.payload, hints)}

    def jobs(folder: Path) -> list[Job]:
        places = [folder / f"{pair.name}-{number}" for number in range(len(plan.grouped))]
        return [
            Job(
                place.name,
                place,
                place / GROUP_RESULT,
                partial(search_part, pair, plan, number, place),
                identity,
                needs,
            )
            for number, place in enumerate(places)
        ]

    def read(file: Path) -> GroupResult:
        return read_text(GroupResult, file.read_text(encoding="utf-8"), file)

    return report_of_groups(opened, plan, pair.payload, hints, run_parts("search", spread, jobs, read, progress))


def search_part(pair: SearchedPair, plan: SearchPlan, number: int, folder: Path) -> None:
    """One group, in a process of its own."""
    opened, hints = pair.open(), _tensor(pair)
    key = {**search_key(opened, plan, pair.payload, hints), "group": number}
    with kept_steps(folder / "search.jsonl", key) as step:
        found = search_group(opened, plan, number, pair.payload, hints, step)
    write_atomically(folder / GROUP_RESULT, json_text(found) + "\n")


def _tensor(pair: SearchedPair) -> torch.Tensor | None:
    return None if pair.hints is None else torch.tensor(pair.hints)
