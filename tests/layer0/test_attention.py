"""Layer-0 attention logits against transformers' own and against the definition written out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Gemma2Config, PreTrainedModel, Qwen2ForCausalLM

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.errors import BadInput
from dormant.layer0 import Layer0, attention_logits, bias_logits, read_layer0
from tests.builders import tiny_config
from tests.layer0.builders import layer0_of, random_model
from tests.layer0.families import FAMILIES, ROPES, build, transformers_logits

MODELS = st.builds(
    build,
    family=st.sampled_from(list(FAMILIES)),
    rope=st.sampled_from(list(ROPES)),
    key_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    head_dim=st.sampled_from([4, 6, 16]),
    seed=st.integers(0, 2**31),
)


def draw_ids(length: int, seed: int, vocabulary: int = 64) -> Tensor:
    return torch.randint(0, vocabulary, (3, length), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(MODELS, st.integers(1, 12), st.integers(0, 2**31))
def test_logits_are_transformers_own(model: PreTrainedModel, length: int, seed: int) -> None:
    ids, layer0 = draw_ids(length, seed), layer0_of(model.config, dict(model.state_dict()))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-6)):
        expected = transformers_logits(model.to(dtype), ids)  # type: ignore[arg-type]  # the package hides the types of `to`
        logits = attention_logits(layer0, ids, dtype=dtype)
        assert logits.dtype == dtype
        torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance * max(1.0, float(expected.abs().max())))


def written_out(layer0: Layer0, ids: list[int], head: int) -> list[list[float]]:
    """The definition, one number at a time."""

    def vector(token: int, place: int, weight: Tensor, bias: Tensor, start: int) -> list[float]:
        x = [float(value) for value in layer0.embedding[token]]
        size = math.sqrt(sum(value * value for value in x) / len(x) + layer0.epsilon)
        x = [value / size * float(gain) for value, gain in zip(x, layer0.gain, strict=True)]
        v = [
            math.fsum(float(w) * value for w, value in zip(weight[row], x, strict=True)) + float(bias[row])
            for row in range(start, start + layer0.head_dim)
        ]
        half, turned = layer0.head_dim // 2, [0.0] * layer0.head_dim
        for i in range(half):
            angle = float(torch.tensor(float(place)) * layer0.rope.frequencies[i])  # float32, as transformers keeps it
            turned[i] = v[i] * math.cos(angle) - v[i + half] * math.sin(angle)
            turned[i + half] = v[i + half] * math.cos(angle) + v[i] * math.sin(angle)
        return turned

    key_head = head // (layer0.heads // layer0.key_heads)
    queries = [vector(t, i, layer0.query_weight, layer0.query_bias, head * layer0.head_dim) for i, t in enumerate(ids)]
    keys = [vector(t, i, layer0.key_weight, layer0.key_bias, key_head * layer0.head_dim) for i, t in enumerate(ids)]
    scale = math.sqrt(layer0.head_dim)
    return [[math.fsum(a * b for a, b in zip(q, k, strict=True)) / scale for k in keys] for q in queries]


@settings(max_examples=8, deadline=None)
@given(MODELS.filter(lambda model: model.config.model_type != "qwen3" and model.config.rope_parameters["rope_type"] != "yarn"),
       st.integers(1, 5), st.integers(0, 2**31))  # fmt: skip
def test_logits_are_their_definition(model: PreTrainedModel, length: int, seed: int) -> None:
    ids, layer0 = draw_ids(length, seed), layer0_of(model.config, dict(model.state_dict()))
    logits = attention_logits(layer0, ids, dtype=torch.float64)[0, -1]
    expected = torch.tensor(written_out(layer0, ids[0].tolist(), layer0.heads - 1), dtype=torch.float64)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12 * max(1.0, float(expected.abs().max())))


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


def test_another_architecture_is_refused_by_name() -> None:
    tensors = dict(random_model(tiny_config(), 0).state_dict())
    with pytest.raises(BadInput, match="gemma2"):
        layer0_of(Gemma2Config(), tensors)
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


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, 512),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}}, 512),
        ({"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}, 16),
    ],
    ids=["default", "dynamic", "sliding"],
)
def test_sequences_beyond_the_position_limit_are_refused(settings: dict[str, object], limit: int) -> None:
    layer0 = layer0_of(tiny_config(**settings), dict(random_model(tiny_config(), 0).state_dict()))
    assert attention_logits(layer0, torch.zeros(1, limit, dtype=torch.long)).shape[-1] == limit
    with pytest.raises(BadInput, match=f"at most {limit} tokens"):
        attention_logits(layer0, torch.zeros(1, limit + 1, dtype=torch.long))
