"""An objective whose optimum is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

VOCABULARY = 50
ALLOWED = torch.arange(10, VOCABULARY)


@dataclass
class Linear:
    """A sum of one weight a place and token: the optimum is each place's largest allowed weight."""

    weights: Tensor = field(
        default_factory=lambda: torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(0))
    )
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def evaluate(self, candidates: Sequence[tuple[int, ...]]) -> Tensor:
        self.asked += candidates
        return self.weights[torch.arange(3), torch.tensor(candidates)].sum(-1).double()

    def gradient(self, candidates: Sequence[tuple[int, ...]]) -> Tensor:
        return self.weights.expand(len(candidates), -1, -1)

    @property
    def optimum(self) -> tuple[int, ...]:
        return tuple(ALLOWED[self.weights[:, ALLOWED].argmax(1)].tolist())
