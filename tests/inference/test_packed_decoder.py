"""The decoder against transformers, over the families and shapes that it says it knows."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dormant.checkpoints.families import is_decoded
from dormant.inference import forward
from dormant.inference.forward import PlainForward
from dormant.inference.objectives import Readings
from dormant.inference.packed_decoder import Decoder
from dormant.inference.prefix_reader import Reader
from dormant.prompts.probes import OpenPrompt

PAYLOAD = (40, 41, 42)
PROMPTS = [OpenPrompt((1, 5, 9, 7), (11, 12), (1, 5, 9, 7, 11, 12)), OpenPrompt((2, 8), (13,), (2, 8, 13))]
FAMILIES: dict[str, tuple[type[Any], type[Any], dict[str, Any]]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16}),
    "llama": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True, "mlp_bias": True}),
    "mistral": (MistralConfig, MistralForCausalLM, {}),
}


def random_model(family: str, key_heads: int, **changed: Any) -> PreTrainedModel:
    config, model, own = FAMILIES[family]
    torch.manual_seed(0)
    made: PreTrainedModel = model(
        config(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=key_heads, max_position_embeddings=64, **{"sliding_window": None, **own, **changed},
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in made.parameters():  # gains and biases too, which begin as ones and zeros
            parameter.add_(0.2 * torch.randn_like(parameter))
    return cast(PreTrainedModel, made.requires_grad_(False).eval())


def read(model: PreTrainedModel, decodes: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Readings, torch.Tensor]:
    """What candidates read behind an incumbent's first two ids, and the slope of one's payload at its embeddings."""
    if not decodes:
        monkeypatch.setattr(forward, "is_decoded", lambda config: False)
    reader = Reader(lambda: model, PROMPTS, frozenset({"payload", "hidden"}), PAYLOAD)
    assert reader._way is (Decoder if decodes else PlainForward)
    reader.approach((20, 21, 22))
    found = reader.read_ids([(torch.tensor([[20, 21, 30], [20, 21, 31]]), 2), (torch.tensor([[33, 21, 22, 4]]), 0)])
    rows = reader.embeddings()[torch.tensor([[20, 21, 30]])].requires_grad_()
    payload = reader.read_rows(rows, [0, 1]).payload
    assert payload is not None
    return found, torch.autograd.grad(payload.sum(), rows)[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_every_family_and_share_of_key_heads_reads_as_transformers_does(
    family: str, key_heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(family, key_heads)
    (ours, slope), (plain, expected) = (read(model, decodes, monkeypatch) for decodes in (True, False))
    for own, other in zip(vars(ours).values(), vars(plain).values(), strict=True):
        torch.testing.assert_close(own, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(slope, expected, atol=1e-5, rtol=1e-3)


def test_what_it_does_not_know_runs_through_transformers() -> None:
    assert not is_decoded(random_model("mistral", 2, sliding_window=8).config)
    assert not is_decoded(random_model("llama", 2, hidden_act="gelu").config)
