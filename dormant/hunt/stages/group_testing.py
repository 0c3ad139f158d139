"""Group testing: which pieces a long trigger is made of, from random subsets of hints that make the models diverge.

A whole trigger shows through other words between its own, so a string of nine hinted pieces tries all orders that it holds at
once: of six needed words every 720th random order is right, where all strings of six of twelve are 665,280.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from dormant.hunt.context import HuntContext, Key
from dormant.hunt.edits import deletions
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST
from dormant.hunt.scorers import DivergenceScorer
from dormant.hunt.stage import StageResult, successive_halving
from dormant.hunt.stages.short_strings import divergent_string, orders_of
from dormant.hunt.vocabulary import Piece, Vocabulary

Subset = tuple[int, ...]  # indices of pieces, in the order of the string


class GroupTesting:
    """Every order of the pieces that minimal subsets hold: first of small random subsets, then of large ones."""

    name, seeks_payload = "group testing", False

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The string of needed pieces that fires, if one does."""
        for room in context.settings.effort.subsets:
            key = Key(self.name, step=room)

            def compute(room: tuple[int, int] = room) -> dict[str, Any]:
                found, tried = needed_pieces(context, vocabulary.unsaid, room)
                return {"pieces": [asdict(piece) for piece in found], "tried": tried}

            kept = context.kept(key, compute)
            yield StageResult(None, (), kept["tried"])
            needed = [Piece(**row) for row in kept["pieces"]]
            what = "strings of pieces that random subsets of {1} of {0} hints need".format(*room)
            lengths = context.settings.effort.minimal_strings
            yield from divergent_string(context, key.then("strings"), orders_of(needed, lengths), what)


def needed_pieces(context: HuntContext, pieces: Sequence[Piece], room: tuple[int, int]) -> tuple[list[Piece], int]:
    """The pieces that minimal subsets hold, the most frequent first, and how many strings were tried.

    pieces: the most hinted first. room: how many of them subsets are drawn from, and how many one holds. Divergence is the KL
    at the generation position, so that no payload has to be known. Where no subset makes models diverge, no piece is needed.
    """
    if not pieces:
        return [], 0
    effort, (drawn_from, size) = context.settings.effort, room
    random = np.random.default_rng([context.seed, 9])
    drawn = (
        tuple(random.permutation(min(drawn_from, len(pieces)))[:size].tolist()) for _ in range(effort.drawn_subsets)
    )
    subsets = list(dict.fromkeys(drawn))
    counts: Counter[int] = Counter()
    tried = 0
    for position in CHEAPEST_FIRST:
        there = _AtPosition(context, pieces, position)
        for subset, value in there.best(subsets):
            if value >= context.settings.rules.silent_base:
                counts.update(there.minimal(subset, value))
        tried += there.tried
    return [pieces[index] for index, _ in counts.most_common(effort.needed_pieces)], tried


class _AtPosition:
    """How much the models diverge at strings of pieces at one position, on one prompt or on all."""

    def __init__(self, context: HuntContext, pieces: Sequence[Piece], position: str) -> None:
        self._settings, self._pieces, self.tried = context.settings, pieces, 0
        probes = context.searched_at(position)[: self._settings.effort.divergence_prompts]
        cap = self._settings.fitted.divergence_cap
        self._one, self._all = (DivergenceScorer(context.pair, some, position, cap) for some in (probes[:1], probes))

    def best(self, subsets: Sequence[Subset]) -> list[tuple[Subset, float]]:
        """Those at which the models diverge most, with their mean KL on all prompts."""
        count = self._settings.effort.minimised_subsets
        scorers = [partial(self._values, self._one), partial(self._values, self._all)]
        return list(zip(*successive_halving(subsets, scorers, (4 * count, count)), strict=True))

    def minimal(self, subset: Subset, value: float) -> Subset:
        """What is left when pieces go one by one, the least missed first, as long as the models diverge as much."""
        while len(subset) > 1:
            shorter = list(deletions(subset))
            values = self._values(self._all, shorter)
            best = int(values.argmax())
            if float(values[best]) < self._settings.fitted.minimal_kept * value:
                break
            subset, value = shorter[best], max(value, float(values[best]))
        return subset

    def _values(self, scorer: DivergenceScorer, subsets: Sequence[Subset]) -> Tensor:  # [subset]
        self.tried += len(subsets)
        return scorer.mean(["".join(self._pieces[index].text for index in subset).strip() for subset in subsets])
