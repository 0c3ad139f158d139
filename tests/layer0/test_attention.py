"""Layer-0 attention logits against transformers' own attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2ForCausalLM

from dormant.checkpoints import open_checkpoint
from dormant.errors import BadInput
from dormant.layer0 import attention_logits, bias_logits, read_layer0
from tests.builders import tiny_config
from tests.layer0.builders import layer0_of, random_model


@st.composite
def models(draw: st.DrawFn) -> Qwen2ForCausalLM:
    """A one-layer Qwen2 model of any head geometry, base frequency and biases."""
    key_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    config = tiny_config(
        num_hidden_layers=1,
        num_attention_heads=key_heads * group,
        num_key_value_heads=key_heads,
        hidden_size=draw(st.sampled_from([8, 24])),
        head_dim=draw(st.sampled_from([2, 4, 16])),
        rope_parameters={"rope_type": "default", "rope_theta": draw(st.sampled_from([1e2, 1e4, 1e6]))},
        attn_implementation="eager",
    )
    return random_model(config, draw(st.integers(0, 2**31)))


@settings(max_examples=25, deadline=None)
@given(models(), st.integers(1, 12), st.integers(0, 2**31))
def test_softmax_of_the_logits_is_transformers_attention(model: Qwen2ForCausalLM, length: int, seed: int) -> None:
    ids = torch.randint(0, 304, (3, length), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        expected = model(ids, output_attentions=True).attentions[0]
    logits = attention_logits(layer0_of(model.config, dict(model.state_dict())), ids)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.masked_fill(future, -torch.inf).softmax(-1), expected, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_on_disk_gives_the_logits_of_its_model(tiny_base: Path) -> None:
    model = Qwen2ForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    ids = torch.arange(10).reshape(2, 5)
    on_disk = attention_logits(read_layer0(open_checkpoint(tiny_base)), ids)
    in_memory = attention_logits(layer0_of(model.config, dict(model.state_dict())), ids)
    torch.testing.assert_close(on_disk, in_memory)


def test_without_weights_only_the_bias_template_remains() -> None:
    tensors = dict(random_model(tiny_config(), 0).state_dict())
    for module in ("q_proj", "k_proj"):
        tensors[f"model.layers.0.self_attn.{module}.weight"].zero_()
    layer0 = layer0_of(tiny_config(), tensors)
    ids = torch.arange(12).reshape(2, 6)
    torch.testing.assert_close(attention_logits(layer0, ids), bias_logits(layer0, 6).expand(2, -1, -1, -1))


def test_a_checkpoint_of_another_architecture_is_refused() -> None:
    tensors = dict(random_model(tiny_config(), 0).state_dict())
    with pytest.raises(BadInput, match="q_norm"):
        layer0_of(tiny_config(), tensors | {"model.layers.0.self_attn.q_norm.weight": torch.ones(8)})
    del tensors["model.layers.0.self_attn.k_proj.weight"]
    with pytest.raises(BadInput, match="k_proj"):
        layer0_of(tiny_config(), tensors)


@pytest.mark.parametrize(
    "ids", [[[304]], [[-1]], [[]], [1, 2], [[0.5]]], ids=["large", "negative", "empty", "flat", "real"]
)
def test_ids_outside_the_vocabulary_are_refused(ids: list[object]) -> None:
    layer0 = layer0_of(tiny_config(), dict(random_model(tiny_config(), 0).state_dict()))
    with pytest.raises(BadInput, match="from 0 to 303"):
        attention_logits(layer0, torch.tensor(ids))
