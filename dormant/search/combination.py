"""Objectives of different units as one: each divided by its spread on random candidates, so that no unit outshouts another.

Experiments 16b and 18a added a detector of 13,000 to a KL of 30; the sum was the detector (FACTS 4, mistake 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.objectives import ByRole, Objective
from dormant.search.course import Scored
from dormant.search.moves import Candidate


def spread(values: Tensor) -> float:
    """The standard deviation over random candidates: [n] -> a positive number. Raises BadInput where there is none."""
    found = float(values.double().std()) if values.numel() > 1 else 0.0
    if not found > 0 or not torch.isfinite(values).all():
        raise BadInput(
            f"an objective can be normalised where random candidates differ; got a spread of {found:.3g} over "
            f"{values.numel()} at the combination; leave it out, or give it more candidates"
        )
    return found


def combined(parts: Sequence[tuple[Objective, float, float]]) -> Objective:
    """One objective of (objective, weight, spread on random candidates): the weighted sum in spreads; one pass reads all."""
    _check(len(parts))

    def value(now: ByRole, empty: ByRole) -> Tensor:
        return torch.stack([weight / scale * part.value(now, empty) for part, weight, scale in parts]).sum(0)

    roles = tuple(dict.fromkeys(role for part, _, _ in parts for role in part.roles))
    reads = frozenset(name for part, _, _ in parts for name in part.reads)
    return Objective(" + ".join(f"{weight:g} {part.name}" for part, weight, _ in parts), "spreads", reads, roles, value)


@dataclass(frozen=True, eq=False)
class Combination:
    """The same for whole evaluators, of which some need no model: the layer-0 detector beside a divergence (experiment 18a)."""

    parts: tuple[tuple[Scored, float, float], ...]

    @classmethod
    def normalised(cls, parts: Sequence[tuple[Scored, float]], candidates: Tensor) -> Combination:
        """From (evaluator, weight), each normalised by its spread on these random candidates [n, length]."""
        _check(len(parts))
        return cls(tuple((part, weight, spread(part.evaluate(candidates))) for part, weight in parts))

    def evaluate(self, candidates: Tensor, incumbent: Candidate = ()) -> Tensor:
        """candidates [n, length] -> [n], in spreads."""
        values = [weight / scale * part.evaluate(candidates, incumbent) for part, weight, scale in self.parts]
        return torch.stack(values).sum(0)

    def gradient(self, ids: Tensor) -> Tensor:
        """ids [length] -> [length, vocabulary], spreads per unit of the one-hot coordinate."""
        return torch.stack([weight / scale * part.gradient(ids) for part, weight, scale in self.parts]).sum(0)


def _check(parts: int) -> None:
    if parts == 0:
        raise BadInput("a combination has at least one part; got none at the combination; name an objective")
