"""Greedy coordinate gradient (Zou et al. 2023), hill climbing and random search: three sources of candidates, one course."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.journal import Journal
from dormant.search.course import Course, Progress, Scored, SearchResult, SearchSettings, Watch
from dormant.search.moves import (
    Admit,
    Candidate,
    Ranking,
    changed_candidates,
    distinct,
    random_candidates,
    steepest_tokens,
)

__all__ = ["Progress", "SearchResult", "SearchSettings", "gcg", "hill_climb", "random_search"]


def gcg(
    objective: Scored,
    settings: SearchSettings,
    allowed: Tensor,
    watch: Watch | None = None,
    admit: Admit | None = None,
    journal: Journal | None = None,
    name: str = "gcg",
) -> SearchResult:
    """Changes the incumbent for the best of the candidates that the gradient proposes; never accepts a loss.

    It starts from the best of a first batch of random candidates: a trigger is a needle, and around most single random
    strings the objective is flat and its gradient says nothing. The batch counts as evaluations, not as a step. Where every
    change of the incumbent has been tried, it begins again from random candidates, since its budget is not spent; the best
    of all is the result. With a buffer the best candidates take turns: the one that was fruitless least often is the next
    incumbent.

    allowed [tokens]: the ids that may be used. No candidate is tried twice. `curve` has one value a step. Deterministic for
    a seed; with a journal, whose entries are told apart by `name`, a resumed run ends like an uninterrupted one. Raises
    BadInput without allowed tokens or where no admitted start is found.
    """

    def rank(incumbent: Candidate) -> Ranking:
        return steepest_tokens(objective.gradient(torch.tensor(incumbent)), distinct(allowed), settings.top)

    return _climb(Course(objective, settings, admit, watch, journal, name), allowed, rank)


def hill_climb(
    objective: Scored,
    settings: SearchSettings,
    allowed: Tensor,
    watch: Watch | None = None,
    admit: Admit | None = None,
    journal: Journal | None = None,
    name: str = "hill-climb",
) -> SearchResult:
    """The same moves without a gradient: tokens are drawn from all that are allowed; `top` plays no part."""
    tokens = distinct(allowed)

    def rank(incumbent: Candidate) -> Ranking:
        return np.broadcast_to(tokens, (len(incumbent), len(tokens)))

    return _climb(Course(objective, settings, admit, watch, journal, name), allowed, rank)


def random_search(
    objective: Scored,
    settings: SearchSettings,
    allowed: Tensor,
    evaluations: int,
    watch: Watch | None = None,
    admit: Admit | None = None,
    journal: Journal | None = None,
    name: str = "random",
) -> SearchResult:
    """The best of `evaluations` distinct random candidates, the null of every guided search.

    `curve` has one value per batch of `settings.candidates` after the first; `settings.steps` and `top` play no part. Fewer
    are tried where fewer exist. Raises BadInput as `gcg` does, and for less than one evaluation.
    """
    if evaluations < 1:
        raise BadInput(f"a random search needs evaluations >= 1; got {evaluations} at its settings; raise it")
    limited = replace(settings, steps=evaluations, evaluations=evaluations, patience=0)
    course = Course(objective, limited, admit, watch, journal, name)
    tokens = distinct(allowed)
    while not (stopped := course.stopped()):
        if not course.attempt(_randomly(tokens, settings.length)):
            stopped = "spent"
            break
    _check_started(course)
    return course.result(stopped)


def _climb(course: Course, allowed: Tensor, rank: Callable[[Candidate], Ranking]) -> SearchResult:
    settings = course.settings
    at_random = _randomly(distinct(allowed), settings.length)
    buffer: list[tuple[float, Candidate]] = course.attempt(at_random)
    _check_started(course)
    tries: dict[Candidate, int] = {}
    rankings: dict[Candidate, Ranking] = {}
    while not (stopped := course.stopped()):
        if not buffer:
            buffer = course.attempt(at_random)
            if not buffer:
                stopped = "spent"
                break
            continue
        buffer = sorted(buffer, key=lambda entry: -entry[0])[: settings.buffer]
        _, incumbent = min(buffer, key=lambda entry: tries.get(entry[1], 0))  # of equals the first, which is the best
        tries[incumbent] = tries.get(incumbent, 0) + 1

        def source(random: np.random.Generator, incumbent: Candidate = incumbent) -> Iterator[Candidate]:
            if incumbent not in rankings:  # the gradient of an unchanged incumbent is unchanged too
                rankings[incumbent] = rank(incumbent)
            longest = settings.longest or 2 * settings.length
            return changed_candidates(incumbent, rankings[incumbent], random, settings.swaps, settings.resize, longest)

        scored = course.attempt(source, incumbent)
        buffer += scored
        if not scored:  # every change of it has been tried
            buffer = [entry for entry in buffer if entry[1] != incumbent]
    return course.result(stopped)


def _randomly(tokens: Ranking, length: int) -> Callable[[np.random.Generator], Iterator[Candidate]]:
    return lambda random: random_candidates(tokens, length, random)


def _check_started(course: Course) -> None:
    if not course.evaluations:
        raise BadInput(
            f"a search needs an admitted candidate; got none in {len(course.seen)} random ones at length "
            f"{course.settings.length}; allow more tokens or another length"
        )
