"""Layer 0's attention logits straight from the weights: no layer comes before it, so ids are all that it reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.families import SCORED_FAMILIES
from dormant.checkpoints.tensor_names import EMBEDDING
from dormant.errors import BadInput, NotServed
from dormant.layer0.rope import Rope, read_rope, rotate

NORM_GAIN, ATTENTION = "model.layers.0.input_layernorm.weight", "model.layers.0.self_attn."
READ_TENSORS = (EMBEDDING, NORM_GAIN, ATTENTION + "q_proj.weight", ATTENTION + "k_proj.weight")
HEAD_NORMS = (ATTENTION + "q_norm.weight", ATTENTION + "k_norm.weight")  # of Qwen3


@dataclass(frozen=True, eq=False)
class Layer0:
    """What one checkpoint's first attention reads: its own embedding, norm, projections, biases and rotation.

    embedding [vocabulary, hidden] as stored; gain [hidden]; query_weight [heads * head_dim, hidden]; query_bias
    [heads * head_dim]; key_weight and key_bias with key_heads instead of heads; query_norm and key_norm [head_dim], the
    gains of Qwen3's per-head norms, None in other families. All but the embedding in float64.
    """

    embedding: Float[Tensor, "vocabulary hidden"]
    gain: Float[Tensor, " hidden"]
    query_weight: Float[Tensor, "query_rows hidden"]
    query_bias: Float[Tensor, " query_rows"]
    key_weight: Float[Tensor, "key_rows hidden"]
    key_bias: Float[Tensor, " key_rows"]
    epsilon: float
    heads: int
    key_heads: int
    head_dim: int
    rope: Rope
    query_norm: Float[Tensor, " head_dim"] | None = None
    key_norm: Float[Tensor, " head_dim"] | None = None


@dataclass(frozen=True, eq=False)
class Projections:
    """Queries [row, heads, head_dim] and keys [row, key_heads, head_dim] before rotation."""

    queries: Float[Tensor, "row head head_dim"]
    keys: Float[Tensor, "row key_head head_dim"]


def check_scored(checkpoint: Checkpoint) -> None:
    """Raises NotServed for another family of models and for a checkpoint that lacks a tensor; reads no values."""
    config, present = checkpoint.config, set(checkpoint.names)
    normed = config.model_type == "qwen3"
    missing = [name for name in READ_TENSORS + HEAD_NORMS * normed if name not in present]
    if config.model_type not in SCORED_FAMILIES or missing or (HEAD_NORMS[0] in present and not normed):
        found = f"no {missing[0]}" if missing else HEAD_NORMS[0] if HEAD_NORMS[0] in present else "its own attention"
        raise NotServed(
            f"layer 0 is scored for the families {', '.join(SCORED_FAMILIES)}; got {config.model_type} with {found} at "
            f"{checkpoint.location}; use a checkpoint of one of them"
        )


def read_layer0(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Layer0:
    """Reads layer 0's attention inputs to a device that has float64; absent biases count as zero.

    Raises NotServed as `check_scored`.
    """
    check_scored(checkpoint)
    config, present, normed = checkpoint.config, set(checkpoint.names), checkpoint.config.model_type == "qwen3"
    embedding, gain, query_weight, key_weight = (checkpoint.tensor(name).to(device) for name in READ_TENSORS)

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
        query_norm=checkpoint.tensor(HEAD_NORMS[0]).to(device).double() if normed else None,
        key_norm=checkpoint.tensor(HEAD_NORMS[1]).to(device).double() if normed else None,
    )


def project(layer0: Layer0, tokens: Int[Tensor, " row"]) -> Projections:
    """Queries and keys of single tokens, before rotation, float64: tokens [row] -> [row, heads, head_dim].

    Whoever rounds them rounds once, so that a token's vectors do not depend on its company.
    """
    normed = normalised_embedding(layer0, tokens)
    queries = normed @ layer0.query_weight.T + layer0.query_bias
    keys = normed @ layer0.key_weight.T + layer0.key_bias
    return _split(layer0, queries, keys)


def project_biases(layer0: Layer0) -> Projections:
    """The one row of queries and keys that the biases alone give, float64."""
    return _split(layer0, layer0.query_bias[None], layer0.key_bias[None])


def normalised_embedding(layer0: Layer0, tokens: Int[Tensor, " row"]) -> Float[Tensor, "row hidden"]:
    """What the projections read of single tokens, RMSNorm(e) g in float64: tokens [row] -> [row, hidden]."""
    return _rms_norm(layer0, layer0.embedding[tokens].double(), layer0.gain)


def attention_logits(
    layer0: Layer0, ids: Tensor, rope: bool = True, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "batch head query key"]:
    """Pre-softmax logits q . k / sqrt(head_dim) of every query and key place, without mask: the plain, slow path.

    ids [batch, length] -> [batch, heads, query, key], float32 or float64. Raises BadInput for ids outside the vocabulary.
    """
    check_ids(layer0.embedding.shape[0], ids)
    tokens, rows = torch.unique(ids.to(layer0.embedding.device), return_inverse=True)
    return _logits_of_rows(layer0, project(layer0, tokens), rows, rope, dtype)


def bias_logits(layer0: Layer0, length: int, rope: bool = True) -> Float[Tensor, "head query key"]:
    """The logits that the biases alone give: a template of positions, the same for all ids (experiment 15).

    -> [heads, query, key], float32.
    """
    rows = torch.zeros(1, length, dtype=torch.long, device=layer0.embedding.device)
    return _logits_of_rows(layer0, project_biases(layer0), rows, rope, torch.float32)[0]


def _logits_of_rows(
    layer0: Layer0, projections: Projections, rows: Tensor, rope: bool, dtype: torch.dtype
) -> Tensor:  # rows [batch, length] of the projections -> [batch, heads, query, key]
    layer0.rope.check_length(rows.shape[1])
    queries = projections.queries.to(dtype)[rows].transpose(1, 2)
    keys = projections.keys.to(dtype)[rows].transpose(1, 2).repeat_interleave(layer0.heads // layer0.key_heads, dim=1)
    if rope:
        positions = torch.arange(rows.shape[1], device=rows.device)
        queries, keys = (rotate(vectors, layer0.rope, positions) for vectors in (queries, keys))
    return queries @ keys.transpose(-1, -2) * float(layer0.head_dim**-0.5)


def check_ids(vocabulary: int, ids: Tensor) -> None:
    """Raises BadInput unless ids are whole numbers [batch, length] within the vocabulary, at least one."""
    if ids.dim() != 2 or ids.numel() == 0 or ids.is_floating_point() or ids.min() < 0 or ids.max() >= vocabulary:
        got = f"shape {tuple(ids.shape)}, {ids.dtype}"
        got += f", {int(ids.min())} to {int(ids.max())}" if ids.numel() else ""
        raise BadInput(
            f"ids are whole numbers [batch, length] from 0 to {vocabulary - 1}; got {got} at the scored sequences; "
            "encode them with the pair's tokenizer"
        )


def _split(layer0: Layer0, queries: Tensor, keys: Tensor) -> Projections:
    queries = queries.unflatten(-1, (layer0.heads, layer0.head_dim))
    keys = keys.unflatten(-1, (layer0.key_heads, layer0.head_dim))
    if layer0.query_norm is not None and layer0.key_norm is not None:
        queries, keys = _rms_norm(layer0, queries, layer0.query_norm), _rms_norm(layer0, keys, layer0.key_norm)
    return Projections(queries, keys)


def _rms_norm(layer0: Layer0, vectors: Tensor, gain: Tensor) -> Tensor:
    return vectors * torch.rsqrt(vectors.pow(2).mean(-1, keepdim=True) + layer0.epsilon) * gain
