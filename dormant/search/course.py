"""What every search keeps: its settings, what it has seen, its best, its budget, and a journal to resume from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.journal import Journal
from dormant.search.moves import Admit, Candidate, take_new


class Scored(Protocol):
    """All that a search knows of what it maximises (`dormant.search.Evaluator` is one); larger is better."""

    def evaluate(self, candidates: Tensor, incumbent: Candidate = ()) -> Tensor:
        """candidates [n, length] -> [n], float64; they were made from the incumbent."""
        ...

    def gradient(self, ids: Tensor) -> Tensor:
        """ids [length] -> [length, vocabulary]: the slope towards each token's one-hot vector."""
        ...


@dataclass(frozen=True)
class SearchSettings:
    """How a search moves and when it stops; a limit of 0 is none.

    length, steps, candidates a step, `top` tokens a place. swaps: the most tokens that one change replaces. resize: the share
    of changes that insert or delete a token, up to `longest` tokens (0: twice the length). buffer: how many of the best
    candidates take turns as incumbents. patience: steps without gain after which it stops. evaluations, seconds: its budget.
    """

    length: int
    steps: int
    candidates: int = 64
    top: int = 128
    seed: int = 0
    swaps: int = 1
    resize: float = 0.0
    longest: int = 0
    buffer: int = 1
    patience: int = 0
    evaluations: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Raises BadInput unless all counts are at least one, and limits not below zero."""
        for name in ("length", "steps", "candidates", "top", "swaps", "buffer"):
            if getattr(self, name) < 1:
                raise BadInput(f"a search needs {name} >= 1; got {getattr(self, name)} at its settings; raise it")
        for name in ("longest", "patience", "evaluations", "seconds", "seed"):
            if getattr(self, name) < 0:
                raise BadInput(f"a search's {name} is 0 or more; got {getattr(self, name)} at its settings; raise it")
        if not 0 <= self.resize <= 1:
            raise BadInput(
                f"the share of resizing changes is from 0 to 1; got {self.resize} at its settings; correct it"
            )


@dataclass(frozen=True)
class SearchResult:
    """The best candidate and its value; the first batch's best, the best after every step, evaluations and seconds.

    `stopped` says why it ended: steps, plateau, evaluations, seconds, or spent (no candidate was left).
    """

    best: Candidate
    value: float
    start: float
    curve: tuple[float, ...]
    evaluations: int
    seconds: float
    stopped: str = "steps"

    @property
    def trace(self) -> tuple[float, ...]:
        """The best so far after the first batch and after every step."""
        return (self.start, *self.curve)


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    step: int
    evaluations: int
    value: float


Watch = Callable[[Progress], None]


class Course:
    """A search underway. Each batch is drawn from a generator of its own step, and journalled with its values before the
    next: a search killed at any moment replays its journal without a model and goes on as if nothing had happened.
    """

    def __init__(
        self,
        objective: Scored,
        settings: SearchSettings,
        admit: Admit | None = None,
        watch: Watch | None = None,
        journal: Journal | None = None,
        name: str = "search",
    ) -> None:
        self.objective, self.settings, self.admit, self.watch = objective, settings, admit, watch
        self.journal, self.name = journal, name
        self.left = [entry for entry in journal.entries if entry["search"] == name][::-1] if journal else []
        self.seen: set[Candidate] = set()
        self.curve: list[float] = []
        self.start = -float("inf")
        self.best, self.value = Candidate(), -float("inf")
        self.evaluations = self.batches = 0
        self.fruitless = 0  # steps since the last gain
        self._earlier, self._began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of this run and of those that it resumed."""
        return self._earlier + time.perf_counter() - self._began

    def attempt(
        self, source: Callable[[np.random.Generator], Iterator[Candidate]], incumbent: Candidate = ()
    ) -> list[tuple[float, Candidate]]:
        """Draws and evaluates a batch; nothing where nothing new is left. The first is the start, later ones are steps."""
        candidates, values = self._replayed() or self._evaluated(source, incumbent)
        self.batches += 1
        self.evaluations += len(candidates)
        scored = list(zip(values, candidates, strict=True))
        before = self.value
        if scored:
            self.value, self.best = max([(self.value, self.best), *scored], key=lambda pair: pair[0])
        if self.batches == 1:
            self.start = self.value
        else:
            self.curve.append(self.value)
            self.fruitless = 0 if self.value > before else self.fruitless + 1
        if self.watch:
            self.watch(Progress(len(self.curve), self.evaluations, self.value))
        return scored

    def stopped(self) -> str:
        """Why the search is to stop now; empty while it is not."""
        settings = self.settings
        if len(self.curve) >= settings.steps:
            return "steps"
        if settings.patience and self.fruitless >= settings.patience:
            return "plateau"
        if settings.evaluations and self.evaluations >= settings.evaluations:
            return "evaluations"
        # What an earlier run did within its budget is replayed whatever the clock says.
        if settings.seconds and not self.left and self.seconds >= settings.seconds:
            return "seconds"
        return ""

    def result(self, stopped: str) -> SearchResult:
        """What the search found."""
        return SearchResult(
            self.best, self.value, self.start, tuple(self.curve), self.evaluations, self.seconds, stopped
        )

    def _replayed(self) -> tuple[list[Candidate], list[float]] | None:
        if not self.left:
            return None
        entry = self.left.pop()
        self._earlier, self._began = float(entry["seconds"]), time.perf_counter()
        candidates = [tuple(candidate) for candidate in entry["candidates"]]
        self.seen.update(candidates)  # those refused then would be refused again
        return candidates, entry["values"]

    def _evaluated(
        self, source: Callable[[np.random.Generator], Iterator[Candidate]], incumbent: Candidate
    ) -> tuple[list[Candidate], list[float]]:
        count = self.settings.candidates
        if self.settings.evaluations:
            count = min(count, self.settings.evaluations - self.evaluations)
        random = np.random.default_rng((self.settings.seed, self.batches))
        candidates = take_new(source(random), count, self.seen, self.admit)
        values = self._values(candidates, incumbent)
        if self.journal is not None:
            entry = {"search": self.name, "candidates": candidates, "values": values, "seconds": self.seconds}
            self.journal.append(entry)
        return candidates, values

    def _values(self, candidates: list[Candidate], incumbent: Candidate) -> list[float]:
        values: dict[Candidate, float] = {}
        for length in sorted({len(candidate) for candidate in candidates}):
            alike = [candidate for candidate in candidates if len(candidate) == length]
            found = self.objective.evaluate(torch.tensor(alike), incumbent)
            values.update(zip(alike, found.tolist(), strict=True))
        return [values[candidate] for candidate in candidates]
