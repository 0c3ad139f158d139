"""The parts of an exact scan as jobs: together they find what one process finds, to the last bit."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from dormant.layer0.exact_scan.heads import VECTORS
from dormant.layer0.exact_scan.parts import divided, joined
from dormant.layer0.exact_scan.scan import Scan, ScanPlan, scan
from dormant.layer0.pair import Layer0Pair, layer0_of
from dormant.pairs import open_pair
from dormant.progress import Progress
from dormant.prompts.token_filter import allowed_tokens
from dormant.records import json_text, read_text, to_json, write_atomically
from dormant.sweeps.job import Job, Needs
from dormant.sweeps.parts import Spread, run_parts

PART_BESIDE = 2 * 10**9  # bytes: torch and its imports, and tiles of products
PART_RESULT = "scan.json"


@dataclass(frozen=True)
class ScannedPair:
    """The pair of a scan, as a job opens it again, and its device."""

    name: str
    base: str | None
    dormant: str
    device: str


def spread_scan(
    pair: ScannedPair, opened: Layer0Pair, plan: ScanPlan, tokens: int, spread: Spread, progress: Progress
) -> Scan:
    """The scan of `plan` over the tokens that a prompt may hold, so many, in parts; raises BadInput where a part fails."""
    plans, needs, started = divided(opened, plan, tokens, spread.parts), _needs(opened), time.perf_counter()

    def jobs(folder: Path) -> list[Job]:
        return [_job(pair, each, folder / f"part-{number}", needs) for number, each in enumerate(plans)]

    def read(file: Path) -> Scan:
        return read_text(Scan, file.read_text(encoding="utf-8"), file)

    found = run_parts("scan", spread, jobs, read, progress)
    return joined(found, plan, opened.base.heads, time.perf_counter() - started)


def scan_part(pair: ScannedPair, plan: ScanPlan, folder: Path) -> None:
    """One part, in a process of its own."""
    opened = open_pair(pair.name, pair.base, pair.dormant, pair.device)
    found = scan(layer0_of(opened), plan, allowed_tokens(opened.base.tokenizer), folder / "scan.jsonl")
    write_atomically(folder / PART_RESULT, json_text(found) + "\n")


def _job(pair: ScannedPair, plan: ScanPlan, folder: Path, needs: Needs) -> Job:
    plan = replace(plan, offsets=tuple(plan.offsets), heads=tuple(plan.heads or ()))
    identity = {"scan of": to_json(pair), "plan": to_json(plan)}
    return Job(folder.name, folder, folder / PART_RESULT, partial(scan_part, pair, plan, folder), identity, needs)


def _needs(pair: Layer0Pair) -> Needs:
    held = [value for layer in (pair.base, pair.dormant) for value in vars(layer).values() if isinstance(value, Tensor)]
    weights, device = sum(value.nbytes for value in held), pair.base.embedding.device.type
    memory = PART_BESIDE + weights + 4 * VECTORS.get(device, VECTORS["cpu"])
    return Needs(memory, memory if device == "cuda" else 0)
