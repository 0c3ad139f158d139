"""Many restarts of GCG as one batch: their gradients come from one pass, their candidates from the next.

A restart alone runs few ids a pass and pays a pass's fixed cost for them; side by side, small budgets go three times as far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.soft_evaluation import SoftEvaluator

Candidate = tuple[int, ...]


@dataclass(frozen=True)
class Climb:
    """One restart: its best candidate and value, the best of its first random batch, and the best after every step."""

    best: Candidate
    value: float
    start: float
    curve: tuple[float, ...]


def climb_side_by_side(
    objective: SoftEvaluator,
    length: int,
    restarts: int,
    steps: int,
    candidates: int,
    allowed: Tensor,
    admit: Callable[[Candidate], bool],
    seed: int = 0,
    top: int = 128,
) -> list[Climb]:
    """Each restart keeps the best admitted one of `candidates` one-token swaps a step; never accepts a loss (Zou et al. 2023).

    Where every swap has been tried it begins again from random strings, as `gcg` does; the best of all is the result.

    allowed [tokens]: the ids that may be used. A restart starts from the best of `candidates` random strings. Candidates
    are asked whether they may be kept only once they would win: asking all costs more than evaluating them. Restarts draw
    from seeds of their own, so that none depends on its company. Raises BadInput without allowed tokens or admitted start.
    """
    if allowed.numel() == 0:
        raise BadInput("a search needs allowed tokens; got none at the tokenizer; use allowed_tokens(tokenizer)")
    allowed = allowed.unique()
    runs = [_Run(allowed, length, torch.Generator().manual_seed(1000 * seed + index)) for index in range(restarts)]
    _offer(objective, runs, [run.draw(candidates) for run in runs], admit)
    starts = [run.value for run in runs]
    for run in runs:
        if not run.best:
            raise BadInput(
                f"a search needs an admitted candidate; got none in {candidates} random ones at length {length}; "
                "allow more tokens or another length"
            )
    curves: list[list[float]] = [[] for _ in runs]
    for _ in range(steps):
        # An unchanged incumbent keeps its gradient; one that was given up has none.
        moved = [run for run in runs if run.swaps is None and run.incumbent]
        for run, gradient in zip(moved, gradients(objective, [run.incumbent for run in moved]), strict=True):
            tokens = allowed[gradient[:, allowed].topk(min(top, allowed.numel()), dim=1).indices]
            places = torch.arange(length)[:, None].expand_as(tokens)
            run.swaps = torch.stack((places, tokens), dim=-1).flatten(0, 1)
        _offer(objective, runs, [run.propose(candidates) for run in runs], admit)
        for run, curve in zip(runs, curves, strict=True):
            curve.append(run.value)
    return [
        Climb(run.best, run.value, start, tuple(curve)) for run, start, curve in zip(runs, starts, curves, strict=True)
    ]


class _Run:
    """The state of one restart."""

    def __init__(self, allowed: Tensor, length: int, generator: torch.Generator) -> None:
        self.allowed, self.length, self.generator = allowed, length, generator
        self.best: Candidate = ()
        self.value = -float("inf")
        self.incumbent: Candidate = ()
        self.level = -float("inf")  # the incumbent's value
        self.swaps: Tensor | None = None  # (place, token) [length * top, 2], None where the incumbent is new
        self.seen: set[Candidate] = set()

    def draw(self, count: int) -> list[Candidate]:
        rows = torch.randint(self.allowed.numel(), (count, self.length), generator=self.generator)
        return self._fresh((tuple(row) for row in self.allowed[rows].tolist()), count)

    def propose(self, count: int) -> list[Candidate]:
        if self.swaps is not None:
            order, stem = self.swaps[torch.randperm(len(self.swaps), generator=self.generator)].tolist(), self.incumbent
            found = self._fresh(((*stem[:place], token, *stem[place + 1 :]) for place, token in order), count)
            if found:
                return found
        self.incumbent, self.level, self.swaps = (), -float("inf"), None
        return self.draw(count)

    def move(self, candidate: Candidate, value: float) -> None:
        """Makes a candidate the incumbent, and the best where it is."""
        self.incumbent, self.level, self.swaps = candidate, value, None
        if value > self.value:
            self.best, self.value = candidate, value

    def _fresh(self, source: Iterable[Candidate], count: int) -> list[Candidate]:
        found: list[Candidate] = []
        for candidate in source:
            if candidate not in self.seen:
                self.seen.add(candidate)
                found.append(candidate)
                if len(found) == count:
                    break
        return found


def _offer(
    objective: SoftEvaluator,
    runs: list[_Run],
    offered: list[list[Candidate]],
    admit: Callable[[Candidate], bool],
) -> None:
    """Evaluates all runs' candidates together; each run keeps its best admitted one where that is a gain."""
    together = [candidate for candidates in offered for candidate in candidates]
    if not together:
        return
    values = iter(objective.evaluate(torch.tensor(together)).tolist())
    for run, candidates in zip(runs, offered, strict=True):
        valued = sorted(((next(values), candidate) for candidate in candidates), reverse=True)
        for value, candidate in valued:
            if value <= run.level:
                break
            if admit(candidate):
                run.move(candidate, value)
                break


def gradients(objective: SoftEvaluator, incumbents: list[Candidate]) -> list[Tensor]:
    """Slopes towards every token's one-hot vector, a pass for all incumbents: [length, vocabulary] each."""
    if not incumbents:
        return []
    ids = torch.tensor(incumbents)
    tables = {role: objective.table(role) for role in objective.roles}
    _, slopes = objective.value_and_slopes({role: table[ids.to(table.device)] for role, table in tables.items()})
    return list(torch.stack([(slopes[role] @ tables[role].T).float().cpu() for role in objective.roles]).sum(0))
