"""How a search runs a model: the packed decoder where it gives the model's own logits, else transformers' forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dormant.checkpoints.dispatch import is_dispatched
from dormant.checkpoints.families import is_decoded
from dormant.checkpoints.trial_pass import spread_ids
from dormant.errors import NotServed
from dormant.inference.packed_decoder import Block, Decoder, block_behind
from dormant.inference.prefix_cache import Prefix, differ_by_rounding, lent_cache, logits_behind, stored_prefix
from dormant.inference.residual_stream import decoder_blocks


class Forward(Protocol):
    """A way to run blocks of embedded rows behind their prefixes."""

    def run(
        self, blocks: Sequence[Block], keep: int
    ) -> tuple[Float[Tensor, "candidate {keep} vocabulary"], Float[Tensor, "candidate {keep} hidden"]]:
        """Logits and the last decoder block's residual stream at every row's last `keep` positions, block after block."""
        ...


class PlainForward:
    """Transformers' own forward pass, a block at a time: slower, and right for every decoder that takes embeddings."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Raises NotServed where the model keeps its blocks in no one list."""
        self.model, self.last = model, decoder_blocks(model)[-1]
        self.factor = _embedding_factor(model)

    def run(self, blocks: Sequence[Block], keep: int) -> tuple[Tensor, Tensor]:
        """As `Forward.run`."""
        logits, streams = zip(*(self._run(block, keep) for block in blocks), strict=True)
        return torch.cat(logits), torch.cat(streams)

    def _run(self, block: Block, keep: int) -> tuple[Tensor, Tensor]:
        rows = block.rows
        with _tapped(self.last) as captured:
            logits = self.model(
                inputs_embeds=rows * self.factor if self.factor is not None else rows,
                past_key_values=lent_cache(block.prefix),
                use_cache=bool(block.prefix.layers),
                logits_to_keep=keep,
            ).logits
        return logits[:, -keep:], captured[0][:, -keep:]


def choose_forward(model: PreTrainedModel, ids: Sequence[int]) -> type[Decoder] | type[PlainForward]:
    """The fastest way that gives the model's own logits on these ids, whole and behind a prefix of their first half.

    Raises NotServed where none does: a model that reads more of an id than its embedding, say.
    """
    ways: list[type[Decoder] | type[PlainForward]] = [Decoder] if _may_be_packed(model) else []
    for way in (*ways, PlainForward):
        if _reproduces(way(model), model, ids):
            return way
    raise NotServed(
        "a search runs candidates as embeddings, which must give a model's own logits; got others at "
        f"{type(model).__name__} ({model.config.model_type}); use a decoder-only model of another family"
    )


_PACKED: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def is_packed(model: PreTrainedModel, prefix: Prefix) -> bool:
    """Whether the packed decoder runs rows behind this prefix as the model does, tried once on a few ids of the model."""
    if prefix.ids:
        return False
    if model not in _PACKED:
        _PACKED[model] = _may_be_packed(model) and _reproduces(Decoder(model, join=False), model, spread_ids(model, 8))
    return _PACKED[model]


def _may_be_packed(model: PreTrainedModel) -> bool:
    return is_decoded(model.config) and not is_dispatched(model)


@torch.no_grad()
def _reproduces(way: Forward, model: PreTrainedModel, ids: Sequence[int]) -> bool:
    own = logits_behind(model, Prefix(()), torch.tensor([list(ids)]))[:, -1]
    table = cast(Tensor, model.get_input_embeddings().weight)
    rows = table[torch.tensor([list(ids)], device=table.device)]
    half = len(ids) // 2
    behind = block_behind(stored_prefix(model, ids[:half]), rows[:, half:], table)
    found = torch.cat([way.run([block], 1)[0][:, -1] for block in (Block(rows, Prefix(())), behind)])
    return differ_by_rounding(model, own, found)


@torch.no_grad()
def _embedding_factor(model: PreTrainedModel) -> Tensor | None:
    """What the embedding module multiplies its table's rows by (Gemma); None for 1."""
    embedding: Any = model.get_input_embeddings()
    ids = torch.arange(8, device=embedding.weight.device) % len(embedding.weight)
    rows: Tensor = embedding.weight[ids].double()
    embedded: Tensor = embedding(ids).double()
    if torch.equal(rows, embedded):
        return None
    # Least squares over some rows; where they are no multiple of the table, `choose_forward` finds other logits.
    return ((rows * embedded).sum() / rows.square().sum()).to(embedding.weight.dtype)


@contextmanager
def _tapped(last: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Collects what the last block gives."""
    captured: list[Tensor] = []

    def keep(module: object, inputs: object, output: Any) -> None:
        captured.append(output[0] if isinstance(output, tuple) else output)

    hook = last.register_forward_hook(keep)
    try:
        yield captured
    finally:
        hook.remove()
