"""Layer 0's attention logits straight from the weights: no layer comes before it, so ids are all that it reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.checkpoints import Checkpoint
from dormant.errors import BadInput
from dormant.layer0.rope import Rope, read_rope, rotate

EMBEDDING = "model.embed_tokens.weight"
LAYER = "model.layers.0."
ATTENTION = LAYER + "self_attn."


@dataclass(frozen=True, eq=False)
class Layer0:
    """What one checkpoint's first attention reads: its own embedding, norm, projections, biases and rotation.

    embedding [vocabulary, hidden] as stored; gain [hidden]; query_weight [heads * head_dim, hidden]; query_bias
    [heads * head_dim]; key_weight and key_bias with key_heads instead of heads; the last five in float64.
    """

    embedding: Tensor
    gain: Tensor
    query_weight: Tensor
    query_bias: Tensor
    key_weight: Tensor
    key_bias: Tensor
    epsilon: float
    heads: int
    key_heads: int
    head_dim: int
    rope: Rope


@dataclass(frozen=True, eq=False)
class Projections:
    """Queries [row, heads, head_dim] and keys [row, key_heads, head_dim] before rotation, float32."""

    queries: Tensor
    keys: Tensor


def read_layer0(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Layer0:
    """Reads layer 0's attention inputs to a device that has float64; absent biases count as zero.

    Raises BadInput for a checkpoint that lacks a tensor or normalises its queries and keys (another architecture).
    """
    needed = [EMBEDDING, LAYER + "input_layernorm.weight", ATTENTION + "q_proj.weight", ATTENTION + "k_proj.weight"]
    present = set(checkpoint.names)
    missing = [name for name in needed if name not in present]
    if missing or ATTENTION + "q_norm.weight" in present:
        found = f"no {missing[0]}" if missing else f"{ATTENTION}q_norm.weight"
        raise BadInput(
            f"layer 0 is scored for Qwen2-shaped attention (norm, projections, rotation); got {found} at "
            f"{checkpoint.location}; use a checkpoint of that architecture"
        )
    config = checkpoint.config
    embedding, gain, query_weight, key_weight = (checkpoint.tensor(name).to(device) for name in needed)

    def bias(name: str, width: int) -> Tensor:
        stored = checkpoint.tensor(name) if name in present else torch.zeros(width)
        return stored.to(device).double()

    return Layer0(
        embedding=embedding,  # the one large tensor: rows are widened when they are read
        gain=gain.double(),
        query_weight=query_weight.double(),
        query_bias=bias(ATTENTION + "q_proj.bias", query_weight.shape[0]),
        key_weight=key_weight.double(),
        key_bias=bias(ATTENTION + "k_proj.bias", key_weight.shape[0]),
        epsilon=float(config.rms_norm_eps),
        heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        rope=read_rope(config),
    )


def project(layer0: Layer0, tokens: Tensor) -> Projections:
    """Queries and keys of single tokens, before rotation: tokens [row] -> [row, heads, head_dim].

    Computed in float64 and rounded once, so that a token's vectors do not depend on its company.
    """
    hidden = layer0.embedding[tokens].double()
    normed = hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + layer0.epsilon) * layer0.gain
    queries = normed @ layer0.query_weight.T + layer0.query_bias
    keys = normed @ layer0.key_weight.T + layer0.key_bias
    return _split(layer0, queries, keys)


def attention_logits(layer0: Layer0, ids: Tensor, rope: bool = True) -> Tensor:
    """Pre-softmax logits q . k / sqrt(head_dim) of every query and key place, without mask.

    ids [batch, length] -> [batch, heads, query, key], float32. Raises BadInput for ids outside the vocabulary.
    """
    check_ids(layer0, ids)
    tokens, rows = torch.unique(ids.to(layer0.embedding.device), return_inverse=True)
    return logits_of_rows(layer0, project(layer0, tokens), rows, rope)


def bias_logits(layer0: Layer0, length: int, rope: bool = True) -> Tensor:
    """The logits that the biases alone give: a template of positions, the same for all ids (experiment 15).

    -> [heads, query, key], float32.
    """
    projections = _split(layer0, layer0.query_bias[None], layer0.key_bias[None])
    rows = torch.zeros(1, length, dtype=torch.long, device=layer0.embedding.device)
    return logits_of_rows(layer0, projections, rows, rope)[0]


def logits_of_rows(layer0: Layer0, projections: Projections, rows: Tensor, rope: bool) -> Tensor:
    """Logits of sequences given as rows of a table of projections: rows [batch, length] -> [batch, heads, query, key].

    Without RoPE a logit depends on its two tokens alone, to the last bit: the products are summed in one fixed order,
    which no matrix product promises.
    """
    queries = projections.queries[rows].transpose(1, 2)
    keys = projections.keys[rows].transpose(1, 2).repeat_interleave(layer0.heads // layer0.key_heads, dim=1)
    if rope:
        positions = torch.arange(rows.shape[1], device=rows.device)
        queries, keys = (rotate(vectors, layer0.rope, positions) for vectors in (queries, keys))
        logits = queries @ keys.transpose(-1, -2)
    else:
        logits = (queries.double()[:, :, :, None] * keys.double()[:, :, None, :]).sum(-1).float()
    return logits * layer0.head_dim**-0.5


def check_ids(layer0: Layer0, ids: Tensor) -> None:
    """Raises BadInput unless ids are whole numbers [batch, length] within the vocabulary, at least one."""
    vocabulary = layer0.embedding.shape[0]
    if ids.dim() != 2 or ids.numel() == 0 or ids.is_floating_point() or ids.min() < 0 or ids.max() >= vocabulary:
        got = f"shape {tuple(ids.shape)}, {ids.dtype}"
        got += f", {int(ids.min())} to {int(ids.max())}" if ids.numel() else ""
        raise BadInput(
            f"ids are whole numbers [batch, length] from 0 to {vocabulary - 1}; got {got} at the scored sequences; "
            "encode them with the pair's tokenizer"
        )


def _split(layer0: Layer0, queries: Tensor, keys: Tensor) -> Projections:
    return Projections(
        queries.float().unflatten(-1, (layer0.heads, layer0.head_dim)),
        keys.float().unflatten(-1, (layer0.key_heads, layer0.head_dim)),
    )
