"""Three sources of candidate strings of a fixed length: the gradient, single swaps without one, and chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.batch_plan import Candidate


@runtime_checkable
class Sloped(Protocol):
    """An objective with a gradient, as `dormant.inference.evaluator.Evaluator` is one."""

    def gradient(self, candidates: Sequence[Candidate]) -> Float[Tensor, "candidate token vocabulary"]:
        """Slopes of candidates of one length towards each token's one-hot vector."""
        ...


@dataclass(frozen=True, eq=False)
class StringProposals:
    """The base of all sources of strings: random ones of `length` allowed tokens to start from."""

    allowed: Int[Tensor, " token"]
    length: int

    def __post_init__(self) -> None:
        """Raises BadInput without allowed tokens, and for a length below one."""
        if self.allowed.numel() == 0:
            raise BadInput("a search needs allowed tokens; got none at the tokenizer; use allowed_tokens(tokenizer)")
        if self.length < 1:
            raise BadInput(f"a search needs length >= 1; got {self.length} at its candidates; raise it")

    @cached_property
    def tokens(self) -> Int[Tensor, " token"]:
        """The allowed ids in order, each once."""
        return torch.tensor(sorted(set(self.allowed.tolist())))

    def draws(self, generator: torch.Generator) -> Iterator[Candidate]:
        """Random strings without end."""
        while True:
            yield tuple(self.tokens[torch.randint(len(self.tokens), (self.length,), generator=generator)].tolist())

    def guides(self, incumbents: Sequence[Candidate]) -> list[Any]:
        """Nothing is asked of a model."""
        return [None] * len(incumbents)


@dataclass(frozen=True, eq=False)
class RandomProposals(StringProposals):
    """Only random strings that `admit` accepts: the null of every search. It draws for ever where none is accepted."""

    admit: Callable[[Candidate], bool] = lambda candidate: True

    def draws(self, generator: torch.Generator) -> Iterator[Candidate]:
        """Random strings without end, from another kind of generator than a search of the same seed has."""
        random, tokens = np.random.default_rng((generator.initial_seed(), 0)), self.tokens.numpy()
        while True:
            yield from filter(self.admit, map(tuple, random.choice(tokens, size=(64, self.length)).tolist()))

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """None: every step draws."""
        return iter(())


@dataclass(frozen=True, eq=False)
class HillClimbProposals(StringProposals):
    """Single swaps of the incumbent, by any allowed token at any place."""

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """Random single swaps without end."""
        tokens = self.tokens.tolist()
        while True:
            place, token = (int(torch.randint(size, (), generator=generator)) for size in (len(incumbent), len(tokens)))
            yield (*incumbent[:place], tokens[token], *incumbent[place + 1 :])


@dataclass(frozen=True, eq=False)
class GradientProposals(StringProposals):
    """Single swaps by the `top` tokens to which the gradient points at each place (GCG, Zou et al. 2023)."""

    objective: Sloped
    top: int = 128

    def guides(self, incumbents: Sequence[Candidate]) -> list[Any]:
        """The steepest allowed tokens: [incumbent][place][rank]."""
        slopes = self.objective.gradient(incumbents)[..., self.tokens]
        steepest = slopes.topk(min(self.top, len(self.tokens)), dim=-1).indices
        return list(self.tokens[steepest].tolist())

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """All these swaps in random order."""
        swaps = [(place, token) for place, tokens in enumerate(guide) for token in tokens]
        for index in torch.randperm(len(swaps), generator=generator).tolist():
            place, token = swaps[index]
            yield (*incumbent[:place], token, *incumbent[place + 1 :])


METHODS = ("gcg", "hill-climb")


def proposals_of(
    method: str, objective: Sloped, allowed: Int[Tensor, " token"], length: int, top: int
) -> HillClimbProposals | GradientProposals:
    """The proposals of a method that `METHODS` lists."""
    if method == "gcg":
        return GradientProposals(allowed, length, objective, top)
    return HillClimbProposals(allowed, length)
