"""Candidates on probes that no search saw: against the empty row, against chance at their length, and against each other.

A candidate's figure is its mean gain over the same probes without it. Its p-value comes from random candidates of its
length, corrected for how many were tried (Holm 1979), for the best of many is lucky by selection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from unicodedata import category

import torch
from jaxtyping import Int
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.batch_plan import Candidate
from dormant.inference.candidate_effects import random_candidates
from dormant.inference.evaluator import Evaluator
from dormant.inference.generation import greedy_answers
from dormant.inference.objectives import Objective, stacked
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter
from dormant.prompts.token_filter import end_of_turn
from dormant.statistics import permutation_p


@dataclass(frozen=True)
class Measured:
    """One candidate under one objective: gain by probe, that of every null of its length, and what they make of it."""

    gains: tuple[float, ...]
    null_gains: tuple[float, ...]
    p: float
    corrected_p: float

    @property
    def mean(self) -> float:
        """Over the probes."""
        return sum(self.gains) / len(self.gains)

    @property
    def worst(self) -> float:
        """The probe on which the candidate does least."""
        return min(self.gains)


@dataclass(frozen=True)
class Validation:
    """What held-out probes say of candidates: [objective][candidate]; the front holds those that no other one dominates."""

    measured: Mapping[str, Mapping[str, Measured]]
    front: tuple[str, ...]

    def ranking(self, objective: str, by: str = "mean") -> list[str]:
        """Candidates from best to worst by their `mean` or their `worst` probe."""
        rows = self.measured[objective]
        return sorted(rows, key=lambda name: float(getattr(rows[name], by)), reverse=True)


@dataclass(frozen=True)
class Answers:
    """What both models answer to one prompt, greedily."""

    prompt: str
    base: str
    dormant: str


def validate(
    pair: Pair,
    candidates: Mapping[str, Candidate],
    probes: Sequence[Probe],
    objectives: Sequence[Objective],
    nulls: int,
    seed: int,
    untried: frozenset[str] = frozenset(),
) -> Validation:
    """Measures every candidate under every objective, with `nulls` random candidates of each length.

    untried: candidates that nobody proposes, such as a random one for comparison: the correction does not count them, and
    their own p stays as it is. Raises BadInput without candidates, and where too few random ones survive in the probes.
    """
    if not candidates or not all(candidates.values()):
        raise BadInput(
            f"a validation needs candidates of at least one id; got {len(candidates)} at the validation; name one"
        )
    prompter = pair.prompter
    opened = [prompter.open(probe) for probe in probes]
    lengths = sorted({len(ids) for ids in candidates.values()})
    drawn = {length: random_candidates(prompter, probes, length, nulls, seed) for length in lengths}
    evaluator = Evaluator(pair.models, opened, stacked(objectives))
    empty = evaluator.empty()[:, None]

    def gains_of(ids: Sequence[Candidate]) -> Tensor:  # [objective, candidate, probe]
        gains = evaluator.per_probe_of(ids) - empty
        return gains.view(len(objectives), len(opened), len(ids)).mT

    chance = {length: gains_of(ids).mean(-1) for length, ids in drawn.items()}  # [objective, null]
    measured = {}
    for index, (objective, gains) in enumerate(zip(objectives, gains_of(list(candidates.values())), strict=True)):
        nulls_of = {name: chance[len(ids)][index].tolist() for name, ids in candidates.items()}
        p_values = [
            permutation_p(float(row.mean()), nulls_of[name]) for name, row in zip(candidates, gains, strict=True)
        ]
        tried = {name: p for name, p in zip(candidates, p_values, strict=True) if name not in untried}
        corrected = dict(zip(tried, holm(list(tried.values())), strict=True))
        measured[objective.name] = {
            name: Measured(tuple(row), tuple(nulls_of[name]), p, corrected.get(name, p))
            for name, row, p in zip(candidates, gains.tolist(), p_values, strict=True)
        }
    points = [[measured[objective.name][name].mean for objective in objectives] for name in candidates]
    kept = pareto_front(points)
    return Validation(measured, tuple(name for name, on in zip(candidates, kept, strict=True) if on))


def side_by_side_answers(
    pair: Pair, candidates: Mapping[str, Candidate], probe: Probe, new_tokens: int = 10
) -> dict[str, Answers]:
    """Both models' greedy answers to a probe with each candidate in its slot; one model runs after the other."""
    prompter = pair.prompter
    tokenizer = prompter.tokenizer
    prompts = [prompter.encode(probe, ids).ids for ids in candidates.values()]
    end = end_of_turn(tokenizer)
    rows = [greedy_answers(model(), prompts, new_tokens, end) for model in (pair.models.base, pair.models.dormant)]
    texts = [[str(tokenizer.decode(list(answer))) for answer in answers] for answers in rows]
    filled = [probe.fill(str(tokenizer.decode(list(ids)))) for ids in candidates.values()]
    return {name: Answers(*row) for name, row in zip(candidates, zip(filled, *texts, strict=True), strict=True)}


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in their order: each times how many are not smaller, never falling."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other one beats or equals everywhere and beats somewhere; larger is better."""
    table = torch.tensor([list(point) for point in points], dtype=torch.float64)  # [point, objective]
    at_least = (table[:, None] >= table[None]).all(-1)
    above = (table[:, None] > table[None]).any(-1)
    return [not bool(row) for row in (at_least & above).any(0)]


def unusual_tokens(prompter: Prompter, allowed: Int[Tensor, " token"], most: int = 50) -> list[int]:
    """The first `most` allowed tokens with a symbol beyond ASCII, emoji and the like: the "weird" set of experiment 16b."""
    texts = ((token, str(prompter.tokenizer.decode([token]))) for token in allowed.tolist())
    unusual = (token for token, text in texts if any(not char.isascii() and category(char)[0] == "S" for char in text))
    return list(islice(unusual, most))
