"""The decoder against transformers, over the families and shapes that it says it knows."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from dormant.errors import BadInput
from dormant.inference import prefix_reader
from dormant.inference.objectives import Readings
from dormant.inference.packed_decoder import can_decode
from dormant.inference.prefix_reader import Reader
from dormant.prompts.probes import OpenPrompt

PAYLOAD = (40, 41, 42)
PROMPTS = [OpenPrompt((1, 5, 9, 7), (11, 12), (1, 5, 9, 7, 11, 12)), OpenPrompt((2, 8), (13,), (2, 8, 13))]
FAMILIES: dict[str, tuple[type[Any], type[Any], dict[str, Any]]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
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
        monkeypatch.setattr(prefix_reader, "can_decode", lambda model: False)
    reader = Reader(lambda: model, PROMPTS, frozenset({"payload", "hidden"}), PAYLOAD)
    assert reader._decodes is decodes
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
    assert not can_decode(random_model("mistral", 2, sliding_window=8))
    assert not can_decode(random_model("llama", 2, hidden_act="gelu"))


def test_a_model_without_a_final_norm_is_refused_in_a_sentence() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(BadInput, match="got none at GPT2LMHeadModel"):
        Reader(lambda: model, PROMPTS, frozenset())
