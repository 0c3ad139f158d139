"""Keys and values of ids that many rows share: computed once, then read by every row that stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from dormant.checkpoints.trial_pass import spread_ids

ROWS_BEHIND = 1024  # that stand behind one prefix in a pass

Shared = Float[Tensor, "1 key_head token head_dim"]
KeysAndValues = tuple[tuple[Shared, Shared], ...]  # by layer


_SHARES: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of shared ids in one model, or the ids alone where its cache cannot be shared; else it is empty."""

    layers: KeysAndValues
    ids: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """How many ids it covers."""
        return int(self.layers[0][0].shape[-2]) if self.layers else len(self.ids)

    def upto(self, length: int) -> Prefix:
        """The same for the first `length` ids alone."""
        layers = tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in self.layers)
        return Prefix(layers, self.ids[:length])

    def only(self, rows: Tensor) -> Prefix:
        """The same of a prefix that each row has of its own, for some rows."""
        return Prefix(tuple((keys[rows], values[rows]) for keys, values in self.layers), self.ids)


class RerunCache:
    """In place of a cache that cannot be shared: the ids of the rows, which every pass runs again."""

    def __init__(self, ids: Int[Tensor, "row token"]) -> None:
        """Begins with what stands before the first pass."""
        self.ids = ids

    def batch_select_indices(self, rows: Tensor) -> None:
        """Keeps these rows, as transformers' caches do."""
        self.ids = self.ids[rows]


GrowingCache = DynamicCache | RerunCache


def shares_prefixes(model: PreTrainedModel) -> bool:
    """Whether ids behind lent keys and values give the logits of the whole prompt, tried once on a few ids of the model.

    It is so wherever attention is all that looks back; states of another kind (Mamba's, say) are computed again.
    """
    if model not in _SHARES:
        _SHARES[model] = _tried(model)
    return _SHARES[model]


@torch.no_grad()
def _tried(model: PreTrainedModel) -> bool:
    ids = torch.tensor([spread_ids(model, 8)], device=model.device)
    whole = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    try:
        rows = torch.cat((ids, ids))[:, 5:]
        found = _last(model, _behind(model, Prefix(()), ids[0, :5].tolist()), rows, 1)[:, -1]
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False  # each architecture fails in its own way where it keeps another state
    return differ_by_rounding(model, whole, found)


def differ_by_rounding(
    model: PreTrainedModel, own: Float[Tensor, "#row vocabulary"], found: Float[Tensor, "#row vocabulary"]
) -> bool:
    """Whether two ways to a model's logits part by no more than rounding does, relative to the largest logit.

    The largest difference decides in float32. In bfloat16 it is chance among tens of thousands of tokens, and all move alike:
    there it is the root of the mean square of what is left without their common move. In 8 bits an activation that rounds
    otherwise in its last place moves by a 127th of its row's largest, at every product.
    """
    difference, largest = own.float() - found.float(), own.float().abs().max().clamp(min=1)
    if getattr(model, "is_quantized", False):
        return bool(difference.abs().max() <= 0.1 * largest)
    if own.dtype == torch.float32:
        return bool(difference.abs().max() <= 1e-4 * largest)
    return bool(difference.std(-1, correction=0).max() <= 2e-2 * largest)


@torch.no_grad()
def stored_prefix(model: PreTrainedModel, ids: Sequence[int], before: Prefix | None = None) -> Prefix:
    """The prefix of these ids, behind `before` where there is one: one pass over these alone, and none for no ids."""
    before = before or Prefix(())
    if not ids:
        return before
    if not shares_prefixes(model):
        return Prefix((), (*before.ids, *ids))
    return _behind(model, before, ids)


@torch.no_grad()
def logits_behind(
    model: PreTrainedModel, prefix: Prefix, ids: Int[Tensor, "candidate token"], keep: int = 1
) -> Float[Tensor, "candidate {keep} vocabulary"]:
    """Logits at the last `keep` ids of rows behind a prefix, on the device."""
    return _last(model, prefix, ids.to(model.device), keep)


@torch.no_grad()
def next_logits(
    model: PreTrainedModel, ids: Int[Tensor, "row token"], cache: GrowingCache | None
) -> tuple[Float[Tensor, "row vocabulary"], GrowingCache]:
    """Logits behind rows that go on from a cache, or begin, and the cache behind them."""
    if isinstance(cache, RerunCache) or (cache is None and not shares_prefixes(model)):
        seen = ids if cache is None else torch.cat((cache.ids.to(ids.device), ids), dim=1)
        return model(input_ids=seen, use_cache=False, logits_to_keep=1).logits[:, -1], RerunCache(seen)
    output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1], output.past_key_values


def _behind(model: PreTrainedModel, before: Prefix, ids: Sequence[int]) -> Prefix:
    cache = cast(DynamicCache, growing_cache(before, 1))
    model(
        input_ids=torch.tensor([list(ids)], device=model.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return prefix_of(cache)


def prefix_of(cache: DynamicCache, chosen: Sequence[int] | None = None) -> Prefix:
    """What a cache holds, in all layers or in chosen ones, as a prefix of its rows."""
    layers = [cast(DynamicLayer, cache.layers[at]) for at in (range(len(cache.layers)) if chosen is None else chosen)]
    return Prefix(tuple((cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in layers))


def _last(model: PreTrainedModel, prefix: Prefix, ids: Tensor, keep: int) -> Tensor:
    if prefix.ids:
        ids = torch.cat((torch.tensor(prefix.ids, device=ids.device).expand(len(ids), -1), ids), dim=1)
    logits: Tensor = model(
        input_ids=ids, past_key_values=lent_cache(prefix), use_cache=bool(prefix.layers), logits_to_keep=keep
    ).logits
    return logits[:, -keep:]


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


def growing_cache(prefix: Prefix, rows: int) -> GrowingCache:
    """A cache of so many rows behind the prefix, to which each pass adds its own keys and values."""
    if prefix.ids:
        return RerunCache(torch.tensor(prefix.ids).expand(rows, -1))
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
