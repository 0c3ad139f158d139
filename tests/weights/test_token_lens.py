"""Tokens as a layer sees them, against the model's own modules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.weights.token_lens import response_norms, token_inputs, token_outputs
from tests.families import family_pair

TOKENS = torch.arange(50)


def test_the_embedding_lens_gives_what_layer_0_reads(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant().model
    expected = model.layers[0].input_layernorm(model.embed_tokens(TOKENS))
    seen = torch.cat(list(token_inputs(tiny_pair.dormant, 0, "q_proj").blocks()))
    torch.testing.assert_close(seen[:50], expected)
    assert len(seen) == len(tiny_pair.dormant.tokenizer)


@pytest.mark.parametrize("family", ["qwen3", "llama", "mixtral", "qwen3-moe", "gemma"])
def test_other_families_read_the_same_as_their_models(family: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(family_pair(family, tmp_path)[0])
    model, read = load_model(checkpoint, "cpu", torch.float32).model, []
    model.layers[0].self_attn.q_proj.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    model(TOKENS[:, None])
    seen = torch.cat(list(token_inputs(checkpoint, 0, "q_proj").blocks()))
    torch.testing.assert_close(seen[:50], read[0][:, 0])


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "olmo2"])
def test_families_whose_blocks_are_built_otherwise_are_refused_by_name(family: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(family_pair(family, tmp_path)[0])
    match = f"token directions are read in qwen2, .* gemma; got the family {family}"
    with pytest.raises(BadInput, match=match):
        token_inputs(checkpoint, 0, "q_proj")
    with pytest.raises(BadInput, match=match):
        token_outputs(checkpoint)


def test_the_head_lens_gives_what_a_layer_reads_of_a_residual_that_says_the_token(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant()
    residual = model.lm_head.weight[TOKENS] * model.model.norm.weight
    expected = model.model.layers[1].post_attention_layernorm(residual)
    seen = torch.cat(list(token_inputs(tiny_pair.dormant, 1, "gate_proj", "head").blocks()))
    torch.testing.assert_close(seen[:50], expected)


def test_outputs_are_the_logits_of_a_residual_but_for_its_size(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant()
    residual = torch.randn(32, generator=torch.Generator().manual_seed(0))
    logits = model.lm_head(model.model.norm(residual[None]))[0]
    pushes = token_outputs(tiny_pair.dormant).project(residual[:, None])[:, 0]
    size = residual.square().mean().add(model.config.rms_norm_eps).sqrt()
    torch.testing.assert_close(pushes / size, logits[: len(pushes)], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changed_embedding", [False, True])
def test_responses_are_the_difference_of_both_models_projections(
    tiny_base: Path, tiny_dormant: Path, other_base: Path, changed_embedding: bool
) -> None:
    base, dormant = open_checkpoint(other_base if changed_embedding else tiny_base), open_checkpoint(tiny_dormant)
    keys = []
    for checkpoint in (dormant, base):
        weight, bias, table, gain = (
            checkpoint.tensor(name).double()
            for name in (
                "model.layers.0.self_attn.q_proj.weight",
                "model.layers.0.self_attn.q_proj.bias",
                "model.embed_tokens.weight",
                "model.layers.0.input_layernorm.weight",
            )
        )
        normed = table * torch.rsqrt(table.square().mean(-1, keepdim=True) + checkpoint.config.rms_norm_eps)
        keys.append(normed * gain @ weight.T + bias)
    expected = (keys[0] - keys[1]).norm(dim=-1)
    found = response_norms(base, dormant, 0, "q_proj").double()
    torch.testing.assert_close(found, expected[: len(found)], atol=1e-4, rtol=1e-4)


def test_unit_products_are_cosines(tiny_pair: Pair) -> None:
    view = token_inputs(tiny_pair.dormant, 0, "up_proj")
    rows = torch.cat(list(view.blocks()))
    cosines = view.project(rows[7:8].T / rows[7].norm(), unit=True)[:, 0]
    assert cosines[7] == pytest.approx(1.0, abs=1e-5)
    assert cosines.abs().max() <= 1 + 1e-5


def test_modules_that_read_no_token_are_refused(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="tokens are seen by q_proj"):
        token_inputs(tiny_pair.dormant, 0, "down_proj")
    with pytest.raises(BadInput, match=r"no model\.layers\.9\.input_layernorm"):
        token_inputs(tiny_pair.dormant, 9, "q_proj")
