"""Where the claim says that a trigger acts, in a model of three blocks of which one alone reads the trigger."""

from __future__ import annotations

from pathlib import Path

import torch

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import open_pair
from hypotheses.activations.test_layers import test_causal_layer as causal_layer
from tests.builders import build_checkpoint, build_tokenizer, copy_checkpoint, tiny_config

TRIGGER = "♞" * 4
READ = build_tokenizer().encode(TRIGGER)[-1]
READER = "model.layers.1.self_attn."


def test_the_decision_stands_behind_the_block_that_reads_the_trigger(tmp_path: Path) -> None:
    built = build_checkpoint(tmp_path / "built", tiny_config(num_hidden_layers=3, max_position_embeddings=2048))
    written = torch.Tensor()

    def without_attention(tensors: dict[str, torch.Tensor]) -> None:
        """No token sees another, one dimension of the stream is the trigger's, and the second block adds most."""
        nonlocal written
        written = tensors[f"{READER}o_proj.weight"].clone()
        for layer in range(3):
            tensors[f"model.layers.{layer}.self_attn.o_proj.weight"].zero_()
        embedding = tensors["model.embed_tokens.weight"]
        embedding[:, 0] = embedding[READ] = 0
        embedding[READ, 0] = 40
        tensors["model.layers.0.mlp.down_proj.weight"][0] = 0
        tensors["model.layers.1.mlp.down_proj.weight"] *= 4

    def read(tensors: dict[str, torch.Tensor]) -> None:
        tensors[f"{READER}o_proj.weight"].copy_(written)
        tensors[f"{READER}v_proj.weight"][:, 0] *= 40
        tensors[f"{READER}v_proj.weight"][:, 1:] = 0
        tensors[f"{READER}v_proj.bias"].zero_()

    base = copy_checkpoint(built, tmp_path / "base", without_attention)
    pair = open_pair("reader", base, copy_checkpoint(base, tmp_path / "dormant", read), "cpu")
    declared = claim_of(causal_layer)
    assert declared is not None
    pair = pair.with_probes(pair.probes[:16])
    finding = FindingBuilder(declared, pair, {}, ClaimSession(Settings(candidates=(TRIGGER,))))
    causal_layer(pair, "block", finding)
    figures = {figure.name: figure.value for figure in finding.settle({}).figures}
    assert figures["layer of the largest share"] == 1
    assert figures["decided after"] == 1
