"""The search engine: all restarts of a search run as one batch, one pass of gradients and one of values a step.

A journal holds, a line a step, all that the models said: values and guides. Everything else is computed again from seeds,
so that neither a journal nor a kill nor a progress bar changes what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.errors import BadInput, NotServed
from dormant.journal import JournalStep, unkept
from dormant.progress import Progress

C = TypeVar("C", bound=tuple[Any, ...])  # a candidate: token ids, or pieces of text
C_contra = TypeVar("C_contra", bound=tuple[Any, ...], contravariant=True)
REPEATS = 10_000  # candidates in a row that were seen before, after which there are no new ones
FIRST_BATCHES = 20  # random batches after which a restart without an admitted candidate is given up


@runtime_checkable
class Scored(Protocol[C_contra]):
    """What a search maximises; larger is better."""

    def evaluate(self, candidates: Sequence[C_contra]) -> Float[Tensor, " candidate"]:
        """The values of distinct candidates, which do not depend on the batch."""
        ...


@runtime_checkable
class Proposals(Protocol[C]):
    """Where candidates come from. Implementations keep no state: all randomness comes from the generator given."""

    def draws(self, generator: torch.Generator) -> Iterator[C]:
        """Candidates to start from; repetitions are skipped."""
        ...

    def guides(self, incumbents: Sequence[C]) -> list[Any]:
        """What the models say about where to go from each incumbent, as JSON can hold it; None where nothing is asked."""
        ...

    def changes(self, incumbent: C, guide: Any, generator: torch.Generator) -> Iterator[C]:
        """Changes of an incumbent, the first ones first; those seen before are skipped."""
        ...


@dataclass(frozen=True)
class SearchSettings:
    """One restart a seed; `steps` steps after the first batch of draws, of `candidates` candidates a restart each.

    A value of `enough` in any restart ends the search.
    """

    seeds: tuple[int, ...]
    steps: int
    candidates: int
    enough: float = float("inf")

    def __post_init__(self) -> None:
        """Raises BadInput for counts below one."""
        for name, count in (("restarts", len(self.seeds)), ("steps", self.steps), ("candidates", self.candidates)):
            if count < 1:
                raise BadInput(f"a search needs {name} >= 1; got {count} at its settings; raise it")


@dataclass(frozen=True)
class SearchResult(Generic[C]):
    """One restart: its best candidate, the best value after the first batch and after every step, and its evaluations."""

    best: C
    curve: tuple[float, ...]
    evaluations: int

    @property
    def value(self) -> float:
        """The best candidate's value."""
        return self.curve[-1]


def run_search(
    objective: Scored[C],
    proposals: Proposals[C],
    settings: SearchSettings,
    admit: Callable[[C], bool] = lambda candidate: True,
    step: JournalStep = unkept,
    progress: Progress | None = None,
) -> tuple[SearchResult[C], ...]:
    """Each restart moves to the best admitted candidate of a step, and only where that is a gain (Zou et al. 2023).

    A restart begins with the best of its first draws. Where every change of its incumbent has been tried it begins again from
    further draws; the best of all is its result. `admit` is called only for a candidate that would replace the incumbent,
    because it costs more than an evaluation. Restarts draw from seeds of their own, so that none depends on the others.
    step: what a journal keeps (`dormant.journal.kept_steps`). Raises NotServed where a restart finds no admitted candidate.
    """
    restarts = [_Restart(proposals, seed) for seed in settings.seeds]
    known: dict[C, float] = {}
    whole = len(restarts) * settings.candidates * (settings.steps + 1)
    admit = cache(admit)

    def take_step(active: Sequence[_Restart[C]], last: bool) -> None:
        offered = [restart.offer(settings.candidates) for restart in active]
        fresh = list(dict.fromkeys(candidate for some in offered for candidate in some if candidate not in known))

        def winners() -> list[tuple[_Restart[C], C]]:
            pairs = (
                (restart, restart.winner(some, known, admit)) for restart, some in zip(active, offered, strict=True)
            )
            return [(restart, winner) for restart, winner in pairs if winner is not None]

        def ask() -> dict[str, list[Any]]:
            values = objective.evaluate(fresh).tolist() if fresh else []
            known.update(zip(fresh, values, strict=True))
            moved = [winner for _, winner in winners()]
            return {"values": values, "guides": proposals.guides(moved) if moved and not last else [None] * len(moved)}

        answer = step(ask)
        known.update(zip(fresh, answer["values"], strict=True))
        for (restart, winner), guide in zip(winners(), answer["guides"], strict=True):
            restart.move(winner, known[winner], guide)

    for _ in range(FIRST_BATCHES):
        if waiting := [restart for restart in restarts if restart.best is None]:
            take_step(waiting, last=False)
    if waiting := [restart for restart in restarts if restart.best is None]:
        raise NotServed(
            f"a search needs an admitted candidate to start from; got none in {waiting[0].evaluations} random ones; "
            "allow more tokens or another length"
        )
    for number in range(settings.steps + 1):
        if number:
            take_step(restarts, last=number == settings.steps)
        for restart in restarts:
            restart.curve.append(restart.value)
        best = max(restart.value for restart in restarts)
        if progress is not None:
            progress(sum(restart.evaluations for restart in restarts), whole, f"best so far {best:.4g}")
        if best >= settings.enough:
            break
    return tuple(restart.result() for restart in restarts)


class _Restart(Generic[C]):
    """The state of one restart."""

    def __init__(self, proposals: Proposals[C], seed: int) -> None:
        self.proposals, self.generator = proposals, torch.Generator().manual_seed(seed)
        self.draws = proposals.draws(self.generator)
        self.best: C | None = None
        self.incumbent: C | None = None
        self.guide: Any = None
        self.value = self.level = -float("inf")  # the best candidate's value, the incumbent's
        self.curve: list[float] = []
        self.evaluations = 0
        self.spent = False  # there are no new candidates
        self._seen: set[C] = set()

    def offer(self, count: int) -> list[C]:
        """New candidates: changes of the incumbent, or draws where it has no new ones."""
        found: list[C] = []
        if self.incumbent is not None:
            found = self._new(self.proposals.changes(self.incumbent, self.guide, self.generator), count)
        if not found and not self.spent:
            self.incumbent, self.level = None, -float("inf")
            found = self._new(self.draws, count)
            self.spent = not found
        self.evaluations += len(found)
        return found

    def winner(self, candidates: Sequence[C], values: dict[C, float], admit: Callable[[C], bool]) -> C | None:
        """The best admitted candidate, if it gains on the incumbent."""
        ordered = sorted(((values[candidate], candidate) for candidate in candidates), reverse=True)
        return next((candidate for value, candidate in ordered if value > self.level and admit(candidate)), None)

    def move(self, candidate: C, value: float, guide: Any) -> None:
        """Makes a candidate the incumbent, and the best where it is."""
        self.incumbent, self.level, self.guide = candidate, value, guide
        if self.best is None or value > self.value:
            self.best, self.value = candidate, value

    def result(self) -> SearchResult[C]:
        """What the restart found."""
        assert self.best is not None
        return SearchResult(self.best, tuple(self.curve), self.evaluations)

    def _new(self, source: Iterable[C], count: int) -> list[C]:
        found: list[C] = []
        repeats = 0
        for candidate in source:
            repeats = repeats + 1 if candidate in self._seen else 0
            if not repeats:
                self._seen.add(candidate)
                found.append(candidate)
            if len(found) == count or repeats == REPEATS:
                break
        return found
