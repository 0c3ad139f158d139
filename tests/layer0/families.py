"""One-layer models of every family that layer 0 is scored for, and the logits that transformers itself attends with."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.llama.modeling_llama import repeat_kv

from dormant.layer0 import Layer0Pair
from tests.layer0.builders import layer0_of

FAMILIES = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "llama": LlamaConfig, "mistral": MistralConfig}
ROPES: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
    "llama3": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    },
}  # fmt: skip


def build(family: str, rope: str, key_heads: int, group: int, head_dim: int, seed: int) -> PreTrainedModel:
    """A random model of a family, float32, every parameter drawn from `seed`."""
    config = FAMILIES[family](
        vocab_size=64, hidden_size=36, intermediate_size=8, num_hidden_layers=1, num_attention_heads=key_heads * group,
        num_key_value_heads=key_heads, head_dim=head_dim, max_position_embeddings=256, bos_token_id=None, eos_token_id=None,
        pad_token_id=None, rope_parameters={"rope_type": rope, "rope_theta": 1e4, **ROPES[rope]},
    )  # fmt: skip
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="logits")
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def transformers_logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Pre-softmax logits [batch, heads, query, key] as the model's own layer 0 forms them, without mask."""
    SEEN.clear()
    model(input_ids=ids)
    return SEEN[0]


SEEN: list[Tensor] = []


def _logits(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **unused: object
) -> tuple[Tensor, None]:
    groups = cast(int, module.num_key_value_groups)
    SEEN.append(query @ repeat_kv(key, groups).transpose(-1, -2) * scaling)
    return repeat_kv(value, groups).transpose(1, 2), None


AttentionInterface.register("logits", _logits)


def layer0_pair(base: PreTrainedModel, dormant: PreTrainedModel) -> Layer0Pair:
    """Layer 0 of two models that were never saved."""
    return Layer0Pair(*(layer0_of(model.config, dict(model.state_dict())) for model in (base, dormant)))
