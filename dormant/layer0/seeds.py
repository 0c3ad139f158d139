"""Where a search of layer 0 may start: tokens along the directions in which a focus head's queries changed (experiment 14)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.layer0.attention import normalised_embedding
from dormant.layer0.beam import Beam, BeamSettings, beam_search
from dormant.layer0.pair import Layer0Pair
from dormant.weights.directions import strongest_heads

EMBEDDINGS_AT_A_TIME = 8192  # embeddings that are normalised at a time


def direction_tokens(
    pair: Layer0Pair, count: int, tokens: Int[Tensor, " token"] | None = None, heads: int = 3, directions: int = 3
) -> Int[Tensor, " count"]:
    """The `count` tokens along the leading right singular vectors of the focus heads' q_proj delta: [count], best first.

    Tokens are ranked by |cosine| of the vector with the normalised embedding that the dormant projection reads, and taken
    by turns from every direction. Empty where no q_proj delta is there.
    """
    device = pair.dormant.embedding.device
    chosen = torch.arange(len(pair.dormant.embedding), device=device) if tokens is None else tokens.to(device).unique()
    deltas = _query_deltas(pair)
    found = strongest_heads(deltas, heads)
    if not found:
        return chosen[:0]
    _, _, right = torch.linalg.svd(deltas[found], full_matrices=False)
    vectors = right[:, :directions].flatten(0, 1)  # [direction, hidden]
    cosines = torch.cat(
        [torch.nn.functional.normalize(normalised_embedding(pair.dormant, block), dim=-1) @ vectors.T
         for block in chosen.split(EMBEDDINGS_AT_A_TIME)]
    ).abs()  # [token, direction]  # fmt: skip
    ranked = cosines.argsort(dim=0, descending=True, stable=True)
    return chosen[torch.tensor(list(dict.fromkeys(ranked[:count].flatten().tolist())))[:count]]


def seeded_beams(pair: Layer0Pair, settings: BeamSettings, tokens: Tensor) -> list[Beam]:
    """A beam search from the tokens of the focus heads' directions; from all tokens where no q_proj delta is there.

    Where both models attend alike one sequence stands for all, which score exactly nothing.
    """
    if pair.alike:
        lengths = range(1, settings.length + 1)
        return [Beam(length, (tuple(tokens[:length].tolist()),), (0.0,), 0.0) for length in lengths]
    seeds = direction_tokens(pair, settings.width, tokens)
    return beam_search(pair, settings, seeds if len(seeds) else tokens, tokens)


def _query_deltas(pair: Layer0Pair) -> Float[Tensor, "head head_dim hidden"]:
    delta = pair.dormant.query_weight - pair.base.query_weight
    return delta.reshape(pair.base.heads, -1, delta.shape[-1])
