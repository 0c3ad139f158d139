"""Orders of a sequence, and how far a score tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, permutations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.layer0.pair import Layer0Pair
from dormant.layer0.scorer import Variant, score

LARGEST = 5040  # all orders of seven tokens; longer sequences take the first orders after themselves


def orders(ids: Sequence[int] | Tensor) -> Int[Tensor, "order length"]:
    """The distinct orders of a sequence, itself first: [order, length]."""
    listed = [int(token) for token in ids]
    return torch.tensor(list(dict.fromkeys(islice(permutations(listed), LARGEST))))


def relative_spread(scores: Float[Tensor, " sequence"]) -> float:
    """Largest minus smallest score over the largest absolute one; 0 where all scores are 0."""
    largest = float(scores.abs().max())
    return float(scores.max() - scores.min()) / largest if largest > 0 else 0.0


def spreads_over_orders(
    pair: Layer0Pair, sequences: Int[Tensor, "sequence length"], metric: str, rope: bool
) -> list[float]:
    """Each sequence's relative spread of the score over all its orders; without RoPE all ordered pairs of tokens count.

    All orders of all sequences are scored in one batch, from the tables of their tokens.
    """
    listed = [orders(row) for row in sequences]
    scores = score(pair, torch.cat(listed), metric, Variant(rope=rope, causal=rope))
    return [relative_spread(part) for part in scores.split([len(part) for part in listed])]


def distinct_sequences(
    allowed: Int[Tensor, " token"], count: int, length: int, seed: int
) -> Int[Tensor, "count length"]:
    """Random sequences of `length` different tokens: [count, length]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([allowed[torch.randperm(len(allowed), generator=generator)[:length]] for _ in range(count)])
