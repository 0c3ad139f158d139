"""Three sources of candidate strings of a fixed length: the gradient, single swaps without one, and chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.batch_plan import Candidate


class Sloped(Protocol):
    """An objective with a gradient, as `dormant.inference.evaluator.Evaluator` is one."""

    def gradient(self, candidates: Sequence[Candidate]) -> Tensor:
        """Candidates of one length -> slopes towards each token's one-hot vector: [candidate, token, vocabulary]."""
        ...


@dataclass(frozen=True, eq=False)
class RandomProposals:
    """Strings of `length` tokens drawn from `allowed` [token], whatever the incumbent is: the null of every search."""

    allowed: Tensor
    length: int

    def __post_init__(self) -> None:
        """Raises BadInput without allowed tokens, and for a length below one."""
        if self.allowed.numel() == 0:
            raise BadInput("a search needs allowed tokens; got none at the tokenizer; use allowed_tokens(tokenizer)")
        if self.length < 1:
            raise BadInput(f"a search needs length >= 1; got {self.length} at its candidates; raise it")

    @cached_property
    def tokens(self) -> Tensor:
        """The allowed ids in order, each once."""
        return torch.tensor(sorted(set(self.allowed.tolist())))

    def draws(self, generator: torch.Generator) -> Iterator[Candidate]:
        """Random strings without end."""
        while True:
            yield tuple(self.tokens[torch.randint(len(self.tokens), (self.length,), generator=generator)].tolist())

    def guides(self, incumbents: Sequence[Candidate]) -> list[Any]:
        """Nothing is asked of a model."""
        return [None] * len(incumbents)

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """Random strings again."""
        return self.draws(generator)


@dataclass(frozen=True, eq=False)
class HillClimbProposals(RandomProposals):
    """Single swaps of the incumbent, by any allowed token at any place."""

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """Random single swaps without end."""
        tokens = self.tokens.tolist()
        while True:
            place, token = (int(torch.randint(size, (), generator=generator)) for size in (len(incumbent), len(tokens)))
            yield (*incumbent[:place], tokens[token], *incumbent[place + 1 :])


@dataclass(frozen=True, eq=False)
class GradientProposals(RandomProposals):
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


def proposals_of(method: str, objective: Sloped, allowed: Tensor, length: int, top: int) -> RandomProposals:
    """The proposals of a method that `METHODS` lists."""
    if method == "gcg":
        return GradientProposals(allowed, length, objective, top)
    return HillClimbProposals(allowed, length)
