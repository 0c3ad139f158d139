from __future__ import annotations

import pytest

from dormant.checkpoints.tensor_names import layer_of, module_of, within_layer


@pytest.mark.parametrize(
    ("name", "layer", "module", "rest"),
    [
        ("model.layers.12.self_attn.q_proj.weight", 12, "q_proj", "self_attn.q_proj.weight"),
        ("model.layers.0.mlp.gate_proj.bias", 0, "gate_proj", "mlp.gate_proj.bias"),
        ("model.embed_tokens.weight", None, "embed_tokens", "embed_tokens.weight"),
        ("scale", None, "scale", "scale"),
    ],
)
def test_a_name_says_layer_and_module(name: str, layer: int | None, module: str, rest: str) -> None:
    assert (layer_of(name), module_of(name), within_layer(name)) == (layer, module, rest)
