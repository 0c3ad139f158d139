"""The chunks of a vocabulary sweep as jobs: together they measure what one process measures, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from dormant.behaviour.vocabulary_sweep import Sweep, SweepPlan, finished_sweep, swept
from dormant.inference.batching import equal_runs
from dormant.inference.candidate_effects import (
    CANDIDATES_A_CHUNK,
    SCANNED,
    effect_chunks,
    effects_key,
    joined_effects,
    measure_chunks,
)
from dormant.journal import kept_steps
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.records import json_text, read_text, to_json, write_atomically
from dormant.sweeps.job import Job, Needs
from dormant.sweeps.parts import PairOfParts, Spread, run_parts

EFFECTS_RESULT = "effects.json"
ARRAYS = 4  # of a chunk's logits at once: both models', and each one's passes before they are joined


@dataclass(frozen=True)
class MeasuredChunks:
    """Of each chunk of a part, by place in `SCANNED`, the value of each candidate."""

    values: tuple[tuple[tuple[float, ...], ...], ...]


def spread_vocabulary(
    pair: PairOfParts, opened: Pair, plan: SweepPlan, spread: Spread, progress: Progress | None = None
) -> Sweep:
    """The sweep of `plan`, its chunks in parts and its finalists in this process; raises BadInput where a part fails."""
    work = swept(opened, plan)
    chunks = effect_chunks(len(work.prompts), work.candidates)
    parts, needs = equal_runs(range(len(chunks)), spread.parts), _needs(pair, opened)
    identity = {"sweep of": to_json(pair), "key": effects_key(opened, work.prompts, work.candidates)}
    opened.release()  # the parts load the models

    def jobs(folder: Path) -> list[Job]:
        return [
            Job(
                place.name,
                place,
                place / EFFECTS_RESULT,
                partial(vocabulary_part, pair, plan, (run[0], run[-1]), place),
                {**identity, "chunks": [run[0], run[-1]]},
                needs,
            )
            for number, run in enumerate(parts)
            for place in [folder / f"part-{number}"]
        ]

    def read(file: Path) -> MeasuredChunks:
        return read_text(MeasuredChunks, file.read_text(encoding="utf-8"), file)

    found = chain.from_iterable(part.values for part in run_parts("sweep", spread, jobs, read, progress))
    measured = [dict(zip(SCANNED, values, strict=True)) for values in found]
    return finished_sweep(opened, plan, work, joined_effects(chunks, measured))


def vocabulary_part(pair: PairOfParts, plan: SweepPlan, run: tuple[int, int], folder: Path) -> None:
    """The chunks from the first to the last of a run, in a process of its own."""
    opened = pair.open()
    work = swept(opened, plan)
    chunks = effect_chunks(len(work.prompts), work.candidates)[run[0] : run[1] + 1]
    key = {**effects_key(opened, work.prompts, work.candidates), "chunks": run}
    with kept_steps(folder / "effects.jsonl", key) as step:
        found = measure_chunks(opened, work.prompts, work.candidates, chunks, step)
    values = tuple(tuple(tuple(each[metric]) for metric in SCANNED) for each in found)
    write_atomically(folder / EFFECTS_RESULT, json_text(MeasuredChunks(values), indent=None) + "\n")


def _needs(pair: PairOfParts, opened: Pair) -> Needs:
    on_gpu, needs = opened.models.run_config.device.type == "cuda", pair.needs("profile", opened)
    logits = ARRAYS * 4 * CANDIDATES_A_CHUNK * len(opened.base.tokenizer)  # bytes, float32
    return Needs(needs.memory + (0 if on_gpu else logits), needs.gpu_memory + (logits if on_gpu else 0))
