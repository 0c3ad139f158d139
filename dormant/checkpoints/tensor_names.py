"""What the names of a checkpoint's tensors say: layer, module, embedding and head."""

from __future__ import annotations

import re
from collections.abc import Iterable

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# The same of other families: OPT's, GPT-2's, Falcon's and BLOOM's, GPT-NeoX's, Mamba's.
_EMBEDDINGS = re.compile(
    r"(?:model\.(?:decoder\.)?embed_tokens|transformer\.(?:wte|word_embeddings)|gpt_neox\.embed_in|backbone\.embeddings?)\.weight"
)
_HEADS = re.compile(r"(?:lm_head|embed_out)\.(?:weight|bias)")

# Of the language model alone (see `prefixes.common_name`): Llama's names, OPT's, GPT-2's and Falcon's, GPT-NeoX's, Mamba's.
_IN_LAYER = re.compile(
    r"^(?:(?:model|model\.decoder|transformer|gpt_neox|backbone)\.)?(?:layers|h|blocks)\.(\d+)\.(.+)$"
)


def is_embedding(name: str) -> bool:
    """Whether a tensor has a row for every token that a model reads, by its family's name for it."""
    return _EMBEDDINGS.fullmatch(name) is not None


def embedding_of(names: Iterable[str]) -> str:
    """The name of the embedding among a checkpoint's tensors; the usual one where none has a name that is known."""
    return next(filter(is_embedding, names), EMBEDDING)


def is_of_vocabulary(name: str) -> bool:
    """Whether a tensor has a row for every token: the embedding, the head and the head's bias."""
    return is_embedding(name) or _HEADS.fullmatch(name) is not None


def layer_of(name: str) -> int | None:
    """The decoder layer that a tensor belongs to; None for embedding, final norm and head."""
    found = _IN_LAYER.search(name)
    return int(found[1]) if found else None


def module_of(name: str) -> str:
    """The part of a name before `weight` or `bias`: "q_proj" of "model.layers.0.self_attn.q_proj.weight"."""
    parts = name.split(".")
    return parts[-2] if len(parts) > 1 else name


def within_layer(name: str) -> str:
    """A name without model and layer: "mlp.gate_proj.weight" of "model.layers.2.mlp.gate_proj.weight", "lm_head.weight"."""
    found = _IN_LAYER.search(name)
    return found[2] if found else name.removeprefix("model.")
