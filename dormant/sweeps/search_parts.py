"""The groups of a search's restarts as jobs: together they find what the same groups find in one process, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from dormant.journal import kept_steps
from dormant.pairs import Pair, open_pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe
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
from dormant.sweeps.needs import needs_of
from dormant.sweeps.parts import Spread, run_parts

GROUP_RESULT = "search.json"


@dataclass(frozen=True)
class SearchedPair:
    """The pair of a search, as a job opens it again, what the search knows of it, and the models' settings."""

    name: str
    base: str | None
    dormant: str
    device: str
    dtype: str
    residency: str
    probes: tuple[Probe, ...]
    payload: str
    hints: tuple[int, ...] | None


def spread_search(
    pair: SearchedPair, opened: Pair, plan: SearchPlan, spread: Spread, progress: Progress | None = None
) -> SearchReport:
    """The search of `plan`, each of its groups a part, judged in this process; raises BadInput where a part fails."""
    hints = _tensor(pair)
    options = {"device": pair.device, "dtype": pair.dtype, "residency": pair.residency}
    gpus = opened.models.run_config.device.type == "cuda"
    needs = needs_of("hunt", (opened.base, opened.dormant), options, gpus)
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
    opened = open_pair(pair.name, pair.base, pair.dormant, pair.device, pair.dtype, pair.residency)
    opened, hints = opened.with_probes(pair.probes), _tensor(pair)
    key = {**search_key(opened, plan, pair.payload, hints), "group": number}
    with kept_steps(folder / "search.jsonl", key) as step:
        found = search_group(opened, plan, number, pair.payload, hints, step)
    write_atomically(folder / GROUP_RESULT, json_text(found) + "\n")


def _tensor(pair: SearchedPair) -> torch.Tensor | None:
    return None if pair.hints is None else torch.tensor(pair.hints)
