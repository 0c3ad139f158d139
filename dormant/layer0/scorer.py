"""Scores of a sequence by how far the two checkpoints' layer-0 attention parts on it (experiments 12 and 15)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.checkpoints import Checkpoint
from dormant.divergence import kl_divergence
from dormant.errors import BadInput
from dormant.layer0.attention import (
    Layer0,
    attention_logits,
    bias_logits,
    check_ids,
    logits_of_rows,
    project,
    read_layer0,
)

BAND = (1, 2, 3, 4)
CHUNK_ELEMENTS = 1 << 23  # of the largest temporary: 64 MB in float64


@dataclass(frozen=True, eq=False)
class Layer0Pair:
    """Both checkpoints' layer 0, each with its own embedding. Raises BadInput where their shapes differ."""

    base: Layer0
    dormant: Layer0

    def __post_init__(self) -> None:
        """Checks that one set of ids means the same heads and rows in both."""
        base, dormant = (
            (layer0.embedding.shape[0], layer0.heads, layer0.key_heads, layer0.head_dim)
            for layer0 in (self.base, self.dormant)
        )
        if base != dormant:
            raise BadInput(
                f"both checkpoints share vocabulary, heads, key heads and head size; got {base} and {dormant} "
                "at layer 0 of the pair; compare a model with its own base"
            )


def read_layer0_pair(base: Checkpoint, dormant: Checkpoint, device: torch.device | str = "cpu") -> Layer0Pair:
    """Reads layer 0 of both checkpoints to a device that has float64."""
    return Layer0Pair(read_layer0(base, device), read_layer0(dormant, device))


def delta_logits(pair: Layer0Pair, ids: Tensor, rope: bool = True, remove_bias_template: bool = False) -> Tensor:
    """Dormant minus base attention logits, each model through its own embedding.

    ids [batch, length] -> [batch, heads, query, key], float32. `remove_bias_template` subtracts what the biases alone
    give at every place, which is the same for all ids.
    """
    delta = attention_logits(pair.dormant, ids, rope) - attention_logits(pair.base, ids, rope)
    return delta - bias_template(pair, ids.shape[1], rope) if remove_bias_template else delta


def bias_template(pair: Layer0Pair, length: int, rope: bool = True) -> Tensor:
    """Dormant minus base logits of the biases alone: [heads, query, key], float32."""
    return bias_logits(pair.dormant, length, rope) - bias_logits(pair.base, length, rope)


def score(
    pair: Layer0Pair,
    ids: Tensor,
    metric: str = "max-head",
    rope: bool = True,
    causal: bool = True,
    remove_bias_template: bool = False,
    offsets: Sequence[int] = BAND,
) -> Tensor:  # [batch]
    """One score a sequence: ids [batch, length] -> [batch], float32, on the CPU.

    `max-head`: largest |delta logit| over heads and places; `band`: the same at relative `offsets` only; `row-kl`:
    KL(dormant || base) of the attention rows in nats, mean over rows, largest head. `causal` drops later keys.
    Without RoPE and without the causal mask, `max-head` is *exactly* equal for all orders of a sequence: it is the
    largest value over pairs of its tokens. A causal mask alone already breaks that, for it drops half of the pairs.
    Raises BadInput for an unknown metric, sequences without any place to score, and a template removed from `row-kl`.
    """
    if metric not in METRICS:
        raise BadInput(
            f"a layer-0 metric is one of {', '.join(METRICS)}; got {metric!r} at the score; name one of them"
        )
    if metric == "row-kl" and remove_bias_template:
        raise BadInput(
            "row-kl compares whole attention rows; got remove_bias_template at the score; choose max-head or band"
        )
    check_ids(pair.base, ids)
    length = ids.shape[1]
    device = pair.base.embedding.device
    places = _places(length, causal, offsets if metric == "band" else None).to(device)
    template = bias_template(pair, length, rope) if remove_bias_template else torch.zeros((), device=device)
    chunks = [METRICS[metric](base, dormant, template, places) for base, dormant in _logits(pair, ids, rope)]
    return torch.cat(chunks).cpu()


def _largest_delta(base: Tensor, dormant: Tensor, template: Tensor, places: Tensor) -> Tensor:
    return (dormant - base - template).abs()[:, :, places].amax(dim=(1, 2))


def _row_kl(base: Tensor, dormant: Tensor, template: Tensor, places: Tensor) -> Tensor:
    rows = (logits.masked_fill(~places, -math.inf) for logits in (dormant, base))
    return kl_divergence(*rows).mean(-1).amax(-1).float()


METRICS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "max-head": _largest_delta,
    "band": _largest_delta,
    "row-kl": _row_kl,
}


def _logits(pair: Layer0Pair, ids: Tensor, rope: bool) -> Iterator[tuple[Tensor, Tensor]]:
    # One table of the distinct tokens serves every chunk, so that chunking changes no bit.
    tokens, rows = torch.unique(ids.to(pair.base.embedding.device), return_inverse=True)
    base, dormant = project(pair.base, tokens), project(pair.dormant, tokens)
    elements = pair.base.heads * ids.shape[1] ** 2 * (1 if rope else pair.base.head_dim)
    for chunk in rows.split(max(1, CHUNK_ELEMENTS // elements)):
        yield logits_of_rows(pair.base, base, chunk, rope), logits_of_rows(pair.dormant, dormant, chunk, rope)


def _places(length: int, causal: bool, offsets: Sequence[int] | None) -> Tensor:  # [query, key], True where scored
    distance = torch.arange(length)[:, None] - torch.arange(length)
    places = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if offsets is not None:
        places &= torch.isin(distance if causal else distance.abs(), torch.tensor(list(offsets)))
    if not places.any():
        raise BadInput(
            f"a band needs a sequence longer than its smallest offset; got length {length} at offsets "
            f"{tuple(offsets or ())}; score longer sequences or offset 0"
        )
    return places
