"""Which families of models the fast decoder and layer 0 serve; transformers' own forward pass runs every other."""

from __future__ import annotations

from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

DECODED_FAMILIES = ("qwen2", "qwen3", "llama", "mistral")  # RMSNorm, RoPE by halves, grouped queries, gated SiLU
SCORED_FAMILIES = ("qwen2", "qwen3", "llama", "mistral")  # transformers' layer-0 code takes the same path in these


def is_decoded(config: Any) -> bool:
    """Whether `Decoder` knows the arithmetic that a configuration asks for; sliding windows are not part of it."""
    windows = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        config.model_type in DECODED_FAMILIES
        and getattr(config, "hidden_act", "") == "silu"
        and windows == {"full_attention"}
        and (getattr(config, "sliding_window", None) is None or config.model_type != "mistral")
    )


def context_of(config: Any) -> int | None:
    """How many ids a model was made for; None where its configuration names no number (states, ALiBi)."""
    stated = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if stated is None else int(stated)


def attention_of(config: Any, wanted: str) -> str:
    """The attention kernel that is run: eager where sdpa is wanted and transformers has none for the family."""
    model: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return "eager" if wanted == "sdpa" and model is not None and not model._supports_sdpa else wanted


def family_notes(config: Any, attention: str) -> tuple[str, ...]:
    """What a family has to do without, in one sentence; none for a family that everything serves."""
    parts = []
    if not is_decoded(config):
        parts.append("run through transformers' own forward pass, which searches more slowly")
    if attention_of(config, attention) != attention:
        parts.append("run with eager attention, for transformers has no sdpa kernel for them")
    if config.model_type not in SCORED_FAMILIES:
        parts.append("are not scored in layer 0")
    return (f"{config.model_type} models of this configuration {' and '.join(parts)}",) * bool(parts)
