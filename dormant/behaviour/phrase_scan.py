"""The phrase scan: generated phrases ranked by their effects, and how often the scan finds a planted one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dormant.behaviour.scan_finalists import FINALISTS_A_METRIC, Confirmed, confirm, found_by_scan, leading
from dormant.inference.candidate_effects import SCANNED, measure_effects
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe


@dataclass(frozen=True)
class PhraseScan:
    """By metric each phrase's effect on each searched probe, nats: [probe][phrase]; the finalists; the planted phrase.

    `planted`: the effects of a phrase hidden among the others, by metric and probe; None if nothing was hidden. `rivals`: the
    indices of the phrases without the planted trigger (a generator may produce the trigger itself).
    """

    phrases: tuple[str, ...]
    effects: Mapping[str, tuple[tuple[float, ...], ...]]
    finalists: tuple[Confirmed, ...]
    planted: Mapping[str, tuple[float, ...]] | None = None
    rivals: tuple[int, ...] = ()

    def power(self, metric: str, threshold: float) -> tuple[int, int]:
        """How many scans of one probe each find the hidden phrase: (found, tried); see `found_by_scan`.

        Phrases that contain the trigger are not its rivals.
        """
        if self.planted is None:
            return 0, 0
        others = torch.tensor(self.effects[metric])[:, list(self.rivals)]
        found = [found_by_scan(*values, threshold) for values in zip(self.planted[metric], others, strict=True)]
        return sum(found), len(found)


@dataclass(frozen=True)
class HiddenTrigger:
    """A planted trigger and the phrase that holds it, hidden among the others to learn whether a scan finds it."""

    trigger: str
    phrase: str


def scan_phrases(
    pair: Pair,
    phrases: Sequence[str],
    searched: Sequence[Probe],
    held_out: Sequence[Probe],
    planted: HiddenTrigger | None = None,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> PhraseScan:
    """Every phrase in the slot of every searched probe, then the best by each metric on held-out ones (experiments 13, 13b).

    The phrase of `planted` is measured like the others and can be no finalist. `progress` counts phrases times
    probes. Resumable (see `measure_effects`).
    """
    prompter = pair.prompter
    prompts = [prompter.open(probe) for probe in searched]
    candidates = [prompter.candidate_ids(text) for text in (*phrases, *([planted.phrase] if planted else []))]
    measured = measure_effects(pair, prompts, candidates, journal, progress)
    known = {metric: values[:, : len(phrases)] for metric, values in measured.values.items()}
    chosen = dict.fromkeys(index for metric in SCANNED for index in leading(known[metric].mean(0), FINALISTS_A_METRIC))
    opened = [prompter.open(probe) for probe in held_out]
    confirmed = confirm(pair, pair.base.tokenizer, [("slot", candidates[index], opened) for index in chosen])
    effects = {metric: tuple(tuple(row) for row in values.tolist()) for metric, values in known.items()}
    found = {metric: _column(values, -1) for metric, values in measured.values.items()} if planted else None
    rivals = tuple(index for index, text in enumerate(phrases) if planted is None or planted.trigger not in text)
    return PhraseScan(tuple(phrases), effects, confirmed, found, rivals)


def _column(values: torch.Tensor, index: int) -> tuple[float, ...]:
    return tuple(values[:, index].tolist())
