"""Both checkpoints' layer 0, and the plain way to what differs between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.errors import NotServed
from dormant.layer0.attention import Layer0, attention_logits, bias_logits, read_layer0
from dormant.pairs import Pair

SAME_ATTENTION = "layer 0's attention is the same in both models: every score is exactly 0"


@dataclass(frozen=True, eq=False)
class Layer0Pair:
    """Both checkpoints' layer 0, each with its own embedding. Raises NotServed where their shapes or rotations differ."""

    base: Layer0
    dormant: Layer0

    def __post_init__(self) -> None:
        """Checks that one set of ids means the same heads, rows and rotations in both."""
        base, dormant = (
            (layer0.embedding.shape[0], layer0.heads, layer0.key_heads, layer0.head_dim)
            for layer0 in (self.base, self.dormant)
        )
        if base != dormant:
            raise NotServed(
                f"both checkpoints share vocabulary, heads, key heads and head size; got {base} and {dormant} "
                "at layer 0 of the pair; compare a model with its own base"
            )
        ropes = self.base.rope, self.dormant.rope
        if ropes[0].scaling != ropes[1].scaling or not torch.equal(ropes[0].frequencies, ropes[1].frequencies):
            raise NotServed(
                "both checkpoints turn positions alike; got two sets of rotary frequencies at layer 0 of the pair; "
                "compare a model with its own base, or correct rope_parameters in config.json"
            )

    @cached_property
    def alike(self) -> bool:
        """Whether layer 0 attends the same in both models, to the last bit: every score is then exactly zero."""
        pairs = [
            (getattr(self.base, name), getattr(self.dormant, name))
            for name in (
                "query_weight",
                "query_bias",
                "key_weight",
                "key_bias",
                "gain",
                "query_norm",
                "key_norm",
                "embedding",
            )
        ]
        same = all(ours is theirs or torch.equal(ours, theirs) for ours, theirs in pairs)
        return same and self.base.epsilon == self.dormant.epsilon


def read_layer0_pair(base: Checkpoint, dormant: Checkpoint, device: torch.device | str = "cpu") -> Layer0Pair:
    """Reads layer 0 of both checkpoints to a device that has float64."""
    return Layer0Pair(read_layer0(base, device), read_layer0(dormant, device))


def layer0_of(pair: Pair) -> Layer0Pair:
    """Layer 0 of a pair with weights, on the GPU where its models are to run, else on the CPU (which has float64)."""
    device = pair.models.run_config.device
    return read_layer0_pair(pair.base, pair.dormant, device if device.type == "cuda" else "cpu")


def shuffled_delta(pair: Layer0Pair, seed: int) -> Layer0Pair:
    """The pair with the entries of its q_proj and k_proj deltas permuted within each tensor: as large, without structure.

    What embedding and norm changed stays.
    """
    generator = torch.Generator().manual_seed(seed)

    def shuffled(name: str) -> Tensor:
        base: Tensor = getattr(pair.base, name)
        delta: Tensor = (getattr(pair.dormant, name) - base).flatten()
        order = torch.randperm(len(delta), generator=generator).to(delta.device)
        return base + delta[order].view_as(base)

    dormant = replace(
        pair.dormant,
        query_weight=shuffled("query_weight"),
        query_bias=shuffled("query_bias"),
        key_weight=shuffled("key_weight"),
        key_bias=shuffled("key_bias"),
    )
    return Layer0Pair(pair.base, dormant)


def delta_logits(
    pair: Layer0Pair,
    ids: Tensor,
    rope: bool = True,
    remove_bias_template: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "batch head query key"]:
    """Dormant minus base attention logits, each model through its own embedding: the slow path, to look at and compare.

    ids [batch, length] -> [batch, heads, query, key]. `remove_bias_template` subtracts what the biases alone give at
    every place, which is the same for all ids.
    """
    delta = attention_logits(pair.dormant, ids, rope, dtype) - attention_logits(pair.base, ids, rope, dtype)
    return delta - bias_template(pair, ids.shape[1], rope) if remove_bias_template else delta


def bias_template(pair: Layer0Pair, length: int, rope: bool = True) -> Float[Tensor, "head query key"]:
    """Dormant minus base logits of the biases alone: [heads, query, key], float32."""
    return bias_logits(pair.dormant, length, rope) - bias_logits(pair.base, length, rope)
