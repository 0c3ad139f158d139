"""Pushes of the last layer: their sign from prompts, their standing among random sets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.behaviour.output_directions import signed_push, standing
from dormant.pairs import Pair, Weights
from dormant.weights.decomposition import delta_svd
from dormant.weights.token_lens import name_of, token_outputs


def test_the_push_has_the_sign_of_the_directions_input_on_the_prompts(tiny_pair: Pair) -> None:
    probes = tiny_pair.probes[:6]
    push = signed_push(tiny_pair, probes, "down_proj", 1, draws=9, seed=0)
    assert push is not None
    found = delta_svd(tiny_pair.base, tiny_pair.dormant, name_of(1, "down_proj"), 1)
    unsigned = token_outputs(tiny_pair.dormant).project(found.left)[:, 0]
    torch.testing.assert_close(push.weights.abs(), unsigned.abs(), atol=1e-5, rtol=1e-4)
    assert push.agreement >= 0.5
    assert 0 < push.energy < 1
    assert push.observed.shape == (6, len(push.weights))
    assert push.random.shape == (len(push.weights), 9)
    assert len(push.random_standings(5)) == 9


def test_observed_rises_are_those_of_the_models(tiny_pair: Pair) -> None:
    push = signed_push(tiny_pair, tiny_pair.probes[:2], "down_proj", 1, draws=2, seed=0)
    assert push is not None
    rises = torch.logsumexp(push.observed[0], -1)  # of ratios, not of probabilities: finite and not zero
    assert torch.isfinite(rises)
    assert float(push.observed.abs().max()) > 0


def test_an_unchanged_module_pushes_nothing(tiny_pair: Pair) -> None:
    assert signed_push(tiny_pair, tiny_pair.probes[:1], "o_proj", 1, draws=2, seed=0) is None


def test_the_hook_is_gone_afterwards(tiny_pair: Pair) -> None:
    signed_push(tiny_pair, tiny_pair.probes[:1], "down_proj", 1, draws=2, seed=0)
    assert not tiny_pair.models.dormant().get_submodule("model.layers.1.mlp.down_proj")._forward_pre_hooks


def test_standing_is_a_z_score_and_zero_where_nothing_moved() -> None:
    scores = torch.tensor([[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    spread = scores[0].double().std()
    expected = 0.5 / (float(spread) / 2**0.5)
    assert standing(scores, [2, 3]).tolist() == pytest.approx([expected, 0.0])


def test_a_swapped_pair_pushes_the_other_way(tiny_pair: Pair) -> None:
    turned = replace(tiny_pair, content=Weights(tiny_pair.dormant, tiny_pair.base, tiny_pair._weights.run_config))
    push, back = (signed_push(pair, pair.probes[:4], "down_proj", 1, 2, 0) for pair in (tiny_pair, turned))
    assert push is not None
    assert back is not None
    torch.testing.assert_close(push.observed, -back.observed, atol=1e-4, rtol=1e-4)
    turned.release()
