"""Which keys of two config.json count as a difference: what a forward pass reads, however it is spelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dormant.checkpoints.configuration import compare_settings, generation_settings, model_settings, read_config
from dormant.errors import BadInput

SIZES = {
    "vocab_size": 304, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0,
}  # fmt: skip
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
Keys = dict[str, Any]


def rope(**parameters: Any) -> Keys:
    """A rotation as transformers 5 writes it."""
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4} | parameters}


def older(theta: float = 1e4, **scaling: Any) -> Keys:
    """A rotation as older files state it."""
    return {"rope_theta": theta} | ({"rope_scaling": scaling} if scaling else {})


GEMMA3 = rope(
    full_attention={"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    sliding_attention={"rope_type": "default", "rope_theta": 1e4},
)
TRAINERS = {
    "unsloth_fixed": True, "trust_remote_code": False, "tokenizer_class": "X", "neftune_noise_alpha": 5, "padding_side": "left",
    "gradient_checkpointing": True, "model_max_length": 99, "use_flash_attn": True, "finetuning_task": "chat",
}  # fmt: skip
# model_type, two ways to write the same
ALIKE: dict[str, tuple[str, Keys, Keys]] = {
    "theta": ("qwen2", older(1e6), rope(rope_theta=1000000)),
    "llama3": ("llama", older(5e5, rope_type="llama3", **LLAMA3), rope(rope_type="llama3", rope_theta=5e5, **LLAMA3)),
    "llama3 with both types": (
        "llama", older(5e5, type="llama3", rope_type="llama3", **LLAMA3), rope(rope_type="llama3", rope_theta=5e5, **LLAMA3)),
    "linear by its older type": ("llama", older(type="linear", factor=2), rope(rope_type="linear", factor=2.0)),
    "a length that is the default": (
        "qwen2", older(type="yarn", factor=4.0, original_max_position_embeddings=512), older(type="yarn", factor=4.0)),
    "a part of each head": (
        "glm", {"head_dim": 8, "partial_rotary_factor": 0.5}, {"head_dim": 8} | rope(partial_rotary_factor=0.5)),
    "GPT-NeoX's own names": ("gpt_neox", {"rotary_pct": 0.25, "rotary_emb_base": 10000}, rope(partial_rotary_factor=0.25)),
    "two rotations": (
        "gemma3_text", older(1e6, rope_type="linear", factor=8.0) | {"rope_local_base_freq": 1e4},
        {"rope_parameters": {key: GEMMA3["rope_parameters"][key] for key in ("full_attention", "sliding_attention")}}),
    "windows by pattern": (
        "gemma3_text", {"sliding_window_pattern": 6}, {"layer_types": ["sliding_attention"] * 2}),
    "Gemma's older activation": (
        "gemma", {"hidden_act": "gelu", "hidden_activation": None}, {"hidden_activation": "gelu_pytorch_tanh"}),
    "windows that are switched off": (
        "qwen2", {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 2}, {"max_window_layers": 28}),
    "head width that follows": ("llama", {"head_dim": None}, {"head_dim": 8}),
    "a cache": ("gemma2", {"cache_implementation": "hybrid", "use_cache": False}, {}),
    "training of routers": (
        "mixtral", {"output_router_logits": True, "router_aux_loss_coef": 0.02, "router_jitter_noise": 0.1}, {}),
    "dropout": ("llama", {"attention_dropout": 0.1, "pretraining_tp": 2}, {}),
    "GPT-2's tasks": ("gpt2", {"task_specific_params": {"a": {"do_sample": True}}, "summary_type": "mean", "n_ctx": 64}, {}),
    "trainers' notes": ("qwen2", TRAINERS, {}),
    "special tokens": ("qwen2", {"image_token_id": 3, "sep_token_id": 1, "eos_token_id": [1, 2]}, {}),
    "names and versions": ("qwen2", {"architectures": ["A"], "transformers_version": "4.40.0", "torch_dtype": "float16"}, {}),
}  # fmt: skip
# model_type, keys that change what is computed, and the key that is named
UNLIKE: dict[str, tuple[str, Keys, str]] = {
    "a part of each head": ("stablelm", {"partial_rotary_factor": 0.5}, "rope_parameters.partial_rotary_factor"),
    "GPT-NeoX's part": ("gpt_neox", {"rotary_pct": 0.5}, "rope_parameters.partial_rotary_factor"),
    "one of two rotations": ("gemma3_text", {"rope_local_base_freq": 1e6}, "rope_parameters.sliding_attention.rope_theta"),
    "a dynamic rotation": ("llama", older(type="dynamic", factor=4.0) | {"max_position_embeddings": 64}, "max_position"),
    "a window": ("mistral", {"sliding_window": 8}, "sliding_window"),
    "a soft cap": ("gemma2", {"final_logit_softcapping": None}, "final_logit_softcapping"),
    "the query's scale": ("gemma2", {"query_pre_attn_scalar": 144}, "query_pre_attn_scalar"),
    "experts a token": ("mixtral", {"num_experts_per_tok": 1}, "num_experts_per_tok"),
    "shares of experts": ("olmoe", {"norm_topk_prob": True}, "norm_topk_prob"),
    "layers without experts": ("qwen3_moe", {"mlp_only_layers": [0]}, "mlp_only_layers"),
    "Granite's scale": ("granite", {"logits_scaling": 2.0}, "logits_scaling"),
    "Cohere's scale": ("cohere", {"logit_scale": 0.5}, "logit_scale"),
    "GPT-2's activation": ("gpt2", {"activation_function": "relu"}, "activation_function"),
    "reading both ways": ("qwen2", {"is_causal": False}, "is_causal"),
    "Gemma's reading both ways": ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
}  # fmt: skip


def settings(folder: Path, kind: str, keys: Keys) -> dict[str, Any]:
    """What a config.json of these keys states."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind} | SIZES | keys), encoding="utf-8")
    return model_settings(read_config(folder))


def differing(folder: Path, kind: str, one: Keys, other: Keys) -> list[str]:
    """The keys that count as different."""
    ours, theirs = (settings(folder / name, kind, keys) for name, keys in (("one", one), ("other", other)))
    return [found.key for found in compare_settings((ours, {}), (theirs, {}))]


@pytest.mark.parametrize("kind", ALIKE)
def test_what_no_forward_pass_reads_and_other_spellings_are_no_difference(tmp_path: Path, kind: str) -> None:
    assert differing(tmp_path, *ALIKE[kind]) == []


@pytest.mark.parametrize("kind", UNLIKE)
def test_what_a_forward_pass_reads_is_named(tmp_path: Path, kind: str) -> None:
    model_type, keys, named = UNLIKE[kind]
    assert [key for key in differing(tmp_path, model_type, keys, {}) if named in key]


def test_ends_of_answers_are_token_ids(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ["2"]}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"eos_token_id must be token ids; got \['2'\] at .*generation_config.json"):
        generation_settings(tmp_path, None)
