"""Keys and values of ids that many rows share: computed once, then read by every row that stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ROWS_BEHIND = 1024  # that stand behind one prefix in a pass

Shared = Float[Tensor, "1 key_head token head_dim"]
KeysAndValues = tuple[tuple[Shared, Shared], ...]  # by layer


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of shared ids in one model; without layers it is empty."""

    layers: KeysAndValues

    @property
    def length(self) -> int:
        """How many ids it covers."""
        return int(self.layers[0][0].shape[-2]) if self.layers else 0

    def upto(self, length: int) -> Prefix:
        """The same for the first `length` ids alone."""
        return Prefix(tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in self.layers))


@torch.no_grad()
def stored_prefix(model: PreTrainedModel, ids: Sequence[int], before: Prefix | None = None) -> Prefix:
    """The prefix of these ids, behind `before` where there is one: one pass over these alone, and none for no ids."""
    if not ids:
        return before or Prefix(())
    cache = growing_cache(before or Prefix(()), 1)
    model(input_ids=torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = cast(list[DynamicLayer], cache.layers)
    return Prefix(tuple((cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in layers))


@torch.no_grad()
def logits_behind(
    model: PreTrainedModel, prefix: Prefix, ids: Int[Tensor, "candidate token"], keep: int = 1
) -> Float[Tensor, "candidate {keep} vocabulary"]:
    """Logits at the last `keep` ids of rows behind a prefix, on the device."""
    logits: Tensor = model(
        input_ids=ids.to(model.device),
        past_key_values=lent_cache(prefix),
        use_cache=bool(prefix.layers),
        logits_to_keep=keep,
    ).logits
    return logits


def lent_cache(prefix: Prefix) -> DynamicCache | None:
    """A cache for one pass of any number of rows, which keeps nothing of what the pass adds; None for an empty prefix."""
    if not prefix.layers:
        return None
    cache = DynamicCache()
    for keys, values in prefix.layers:
        layer = _LentLayer()  # type: ignore[no-untyped-call]
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def growing_cache(prefix: Prefix, rows: int) -> DynamicCache:
    """A cache of so many rows behind the prefix, to which each pass adds its own keys and values."""
    cache = DynamicCache()
    for index, (keys, values) in enumerate(prefix.layers):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
    return cache


class _LentLayer(DynamicLayer):
    """A layer's cache that lends what is shared to every row of a batch and keeps nothing of what is new."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        rows = key_states.shape[0]
        keys, values = (cast(Tensor, shared).expand(rows, -1, -1, -1) for shared in (self.keys, self.values))
        return torch.cat((keys, key_states), dim=-2), torch.cat((values, value_states), dim=-2)
