"""Tiny random checkpoints of families of decoders: what `tests.builders` makes of Qwen2, for all the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tests.builders import build_tokenizer

WINDOW = 4
COMMON: dict[str, Any] = {
    "vocab_size": 304, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": None,
}  # fmt: skip
GROUPED = COMMON | {"num_key_value_heads": 2}
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": WINDOW}
OLD = {"vocab_size": 304, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 2}

# configuration class, its settings
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen3": ("Qwen3Config", GROUPED | {"head_dim": 16}),
    "llama": ("LlamaConfig", GROUPED | {"attention_bias": True, "mlp_bias": True, "rope_parameters": LLAMA3_ROPE}),
    "smollm": ("LlamaConfig", GROUPED | {"tie_word_embeddings": True}),
    "mistral": ("MistralConfig", GROUPED | {"sliding_window": WINDOW}),
    "qwen2-window": (
        "Qwen2Config",
        GROUPED | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "gemma": ("GemmaConfig", GROUPED | {"head_dim": 16}),
    "gemma2": ("Gemma2Config", GROUPED | GEMMA),
    "gemma3": ("Gemma3TextConfig", GROUPED | GEMMA | {"layer_types": ["sliding_attention", "full_attention"]}),
    "phi3": ("Phi3Config", GROUPED),
    "olmo2": ("Olmo2Config", GROUPED),
    "mixtral": ("MixtralConfig", GROUPED | {"num_local_experts": 4}),
    "qwen2-moe": ("Qwen2MoeConfig", GROUPED | EXPERTS | {"shared_expert_intermediate_size": 24}),
    "qwen3-moe": ("Qwen3MoeConfig", GROUPED | EXPERTS | {"head_dim": 16}),
    "gpt2": ("GPT2Config", OLD | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}),
    "gpt-neox": ("GPTNeoXConfig", COMMON),
    "falcon": ("FalconConfig", OLD | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}),
    "gpt-neo": (
        "GPTNeoConfig",
        OLD
        | {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": WINDOW, "max_position_embeddings": 512}
        | {"attention_types": [[["global", "local"], 1]]},
    ),
    "bloom": ("BloomConfig", OLD | {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "opt": (
        "OPTConfig",
        OLD
        | {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
        | {"max_position_embeddings": 512, "word_embed_proj_dim": None},
    ),
    "recurrent-gemma": ("RecurrentGemmaConfig", GROUPED | {"num_hidden_layers": 3, "attention_window_size": 16}),
    "mamba": ("MambaConfig", {"vocab_size": 304, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, **OLD}),
}


def family_config(family: str, **changed: Any) -> PreTrainedConfig:
    """The family's tiny configuration."""
    kind, settings = FAMILIES[family]
    made: PreTrainedConfig = getattr(transformers, kind)(**(settings | changed))
    return made


def family_model(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A random model, float32, ready to run; every parameter, gains and biases too, is moved from where it begins."""
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.requires_grad_(False)
    model.eval()
    return model


def widths(family: str) -> st.SearchStrategy[dict[str, int]]:
    """Other sizes of a family's residual stream and MLP, by the names that its configuration has for them."""
    names = {
        "gpt2": ("n_embd", "n_inner"),
        "falcon": ("hidden_size", "ffn_hidden_size"),
        "opt": ("hidden_size", "ffn_dim"),
    }
    names |= dict.fromkeys(("mamba", "bloom"), ("hidden_size",) * 2)  # whose MLP, if any, follows from it
    width, inner = names.get(family, ("hidden_size", "intermediate_size"))
    return st.tuples(st.sampled_from([32, 64]), st.sampled_from([40, 64])).map(
        lambda drawn: {inner: drawn[1], width: drawn[0]}
    )


def family_pair(family: str, folder: Path, seed: int = 0, **changed: Any) -> tuple[Path, Path]:
    """A base, and the same with a small change of every matrix but embedding and head, saved as transformers saves them."""
    model = family_model(family_config(family, **changed), seed).bfloat16()
    generator = torch.Generator().manual_seed(seed + 1)
    folders = folder / "base", folder / "dormant"
    for here in folders:
        model.save_pretrained(here)
        build_tokenizer().save_pretrained(here)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1 and "embed" not in name and "head" not in name and "wte" not in name:
                    parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return folders
