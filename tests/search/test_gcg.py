"""GCG, hill climbing and random search on objectives whose optimum is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.journal import Journal
from dormant.search import SearchResult, SearchSettings, gcg, hill_climb, random_search

VOCABULARY = 50
ALLOWED = torch.arange(10, VOCABULARY)
SETTINGS = SearchSettings(length=3, steps=30, candidates=16, top=8, seed=1)
SEARCHES: dict[str, Callable[..., SearchResult]] = {
    "gcg": gcg,
    "hill climb": hill_climb,
    "random": partial(random_search, evaluations=40),
}
searches = pytest.mark.parametrize("search", list(SEARCHES.values()), ids=list(SEARCHES))


@dataclass
class Linear:
    """A sum of one weight per place and token; the optimum is each place's largest allowed weight, and no third place."""

    weights: Tensor = field(
        default_factory=lambda: torch.randn(
            8, VOCABULARY, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
    )
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def evaluate(self, candidates: Tensor, incumbent: tuple[int, ...] = ()) -> Tensor:
        self.asked += map(tuple, candidates.tolist())
        return self.weights[torch.arange(candidates.shape[1]), candidates].sum(-1)

    def gradient(self, ids: Tensor) -> Tensor:
        return self.weights[: len(ids)].float()

    @property
    def optimum(self) -> tuple[int, ...]:
        return tuple(ALLOWED[self.weights[:3, ALLOWED].argmax(1)].tolist())


@pytest.mark.parametrize("swaps", [1, 3])
def test_gcg_reaches_the_optimum_of_a_linear_objective(swaps: int) -> None:
    objective = Linear()
    result = gcg(objective, replace(SETTINGS, swaps=swaps), ALLOWED)
    assert result.best == objective.optimum
    assert result.value == pytest.approx(float(objective.weights[:3, ALLOWED].amax(1).sum()))


def test_hill_climbing_needs_more_steps_for_the_same_optimum() -> None:
    objective = Linear()
    assert hill_climb(objective, replace(SETTINGS, steps=5), ALLOWED).value < gcg(Linear(), SETTINGS, ALLOWED).value
    assert hill_climb(Linear(), SETTINGS, ALLOWED).best == objective.optimum


def test_lengths_change_only_where_that_is_asked_for_and_within_bounds() -> None:
    fixed, free = Linear(), Linear()
    gcg(fixed, SETTINGS, ALLOWED)
    result = gcg(free, replace(SETTINGS, resize=0.5, longest=5), ALLOWED)
    assert {len(candidate) for candidate in fixed.asked} == {3}
    assert {2, 3, 4, 5} <= {len(candidate) for candidate in free.asked} <= {1, 2, 3, 4, 5}
    assert len(result.best) > 3  # each place's best weight is above zero


@dataclass
class Trap(Linear):
    """The first candidate of all is nearly the best, and its slope points away from what is better."""

    inclines: set[tuple[int, ...]] = field(default_factory=set)  # whose gradient was asked for

    @property
    def lure(self) -> float:
        return float(self.weights[:3, ALLOWED].amax(1).sum()) - 0.01

    def evaluate(self, candidates: Tensor, incumbent: tuple[int, ...] = ()) -> Tensor:
        values = super().evaluate(candidates)
        return torch.where(self.lured(candidates), self.lure, values)

    def gradient(self, ids: Tensor) -> Tensor:
        self.inclines.add(tuple(ids.tolist()))
        return -super().gradient(ids) if self.lured(ids) else super().gradient(ids)

    def lured(self, ids: Tensor) -> Tensor:
        return (ids == torch.tensor(self.asked[0])).all(-1)


@pytest.mark.parametrize(("buffer", "incumbents"), [(1, 1), (4, 4)])
def test_a_buffer_leaves_a_dead_end_before_all_of_its_changes_are_tried(buffer: int, incumbents: int) -> None:
    objective = Trap()
    gcg(objective, replace(SETTINGS, buffer=buffer, candidates=4, steps=4), ALLOWED)
    assert len(objective.inclines) == incumbents


def test_a_search_that_has_tried_every_change_begins_again_while_its_budget_lasts() -> None:
    objective = Trap()
    result = gcg(objective, SETTINGS, ALLOWED)
    assert (result.value > Trap().lure + 0.005, result.stopped) == (True, "steps")
    assert gcg(Linear(), replace(SETTINGS, steps=500), ALLOWED[:2]).stopped == "spent"


@searches
def test_the_best_so_far_never_falls_and_no_candidate_is_asked_twice(search: Callable[..., SearchResult]) -> None:
    objective, seen = Linear(), list[float]()
    result = search(objective, SETTINGS, ALLOWED, watch=lambda progress: seen.append(progress.value))
    assert list(result.trace) == sorted(result.trace) == seen
    assert result.evaluations == len(objective.asked) == len(set(objective.asked))
    assert result.value == pytest.approx(float(objective.evaluate(torch.tensor([result.best]))))


@searches
def test_a_seed_decides_the_whole_run(search: Callable[..., SearchResult]) -> None:
    first, second, other = Linear(), Linear(), Linear()
    runs = [search(objective, SETTINGS, ALLOWED) for objective in (first, second)]
    torch.rand(1)  # the global generators play no part
    assert runs[0].trace == runs[1].trace
    assert first.asked == second.asked
    search(other, replace(SETTINGS, seed=2), ALLOWED)
    assert other.asked != first.asked


def test_random_search_spends_exactly_the_evaluations_it_is_given() -> None:
    objective = Linear()
    result = random_search(objective, SETTINGS, ALLOWED, evaluations=100)
    assert (result.evaluations, len(set(objective.asked)), result.stopped) == (100, 100, "evaluations")
    assert random_search(Linear(), SETTINGS, ALLOWED[:2], evaluations=100).evaluations == 2**3


@pytest.mark.parametrize(
    ("limit", "stopped", "evaluations"),
    [
        ({"evaluations": 50}, "evaluations", 50),
        ({"patience": 2, "candidates": 2}, "plateau", None),
        ({"seconds": 1e-9}, "seconds", 16),
    ],
)
def test_a_search_says_why_it_stopped(limit: dict[str, float], stopped: str, evaluations: int | None) -> None:
    objective = Linear()
    result = gcg(objective, replace(SETTINGS, **limit), ALLOWED)  # type: ignore[arg-type]
    assert result.stopped == stopped
    assert result.evaluations == len(objective.asked) == (evaluations or len(objective.asked))


@searches
def test_a_search_killed_at_any_moment_resumes_to_the_same_end(
    search: Callable[..., SearchResult], tmp_path: Path
) -> None:
    """A kill leaves the journal cut at some byte: at ten random ones the resumed run must ask only what is missing."""
    settings = replace(SETTINGS, steps=8, resize=0.2, buffer=2)
    journal = Journal(tmp_path / "whole", {"search": "test"})
    whole_objective = Linear()
    whole = search(whole_objective, settings, ALLOWED, journal=journal)
    journal.close()
    content = (tmp_path / "whole").read_bytes()
    for cut in np.random.default_rng(0).integers(0, len(content), size=10).tolist():
        (tmp_path / "cut").write_bytes(content[:cut])
        resumed, objective = Journal(tmp_path / "cut", {"search": "test"}), Linear()
        result = search(objective, settings, ALLOWED, journal=resumed)
        resumed.finish()
        assert replace(result, seconds=0) == replace(whole, seconds=0)
        assert objective.asked == whole_objective.asked[len(whole_objective.asked) - len(objective.asked) :]


@searches
def test_only_admitted_and_allowed_candidates_are_asked(search: Callable[..., SearchResult]) -> None:
    objective = Linear()
    search(objective, SETTINGS, ALLOWED, admit=lambda candidate: sum(candidate) % 2 == 0)
    assert all(sum(candidate) % 2 == 0 and min(candidate) >= 10 for candidate in objective.asked)


def test_a_search_that_cannot_start_is_refused() -> None:
    with pytest.raises(BadInput, match="got none in"):
        gcg(Linear(), SETTINGS, ALLOWED, admit=lambda candidate: False)
    with pytest.raises(BadInput, match="allowed tokens"):
        gcg(Linear(), SETTINGS, ALLOWED[:0])
    with pytest.raises(BadInput, match="steps >= 1"):
        SearchSettings(length=3, steps=0)
    with pytest.raises(BadInput, match="share of resizing"):
        SearchSettings(length=3, steps=1, resize=2)
    with pytest.raises(BadInput, match="evaluations >= 1"):
        random_search(Linear(), SETTINGS, ALLOWED, evaluations=0)
