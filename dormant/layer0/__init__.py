"""Layer-0 attention from the weights alone: RoPE, logits, scores."""

from dormant.layer0.attention import Layer0, attention_logits, bias_logits, read_layer0
from dormant.layer0.pair import Layer0Pair, bias_template, delta_logits, read_layer0_pair
from dormant.layer0.rope import Rope, read_rope, rotate
from dormant.layer0.scorer import score
from dormant.layer0.tables import Tables, build_tables

__all__ = [
    "Layer0",
    "Layer0Pair",
    "Rope",
    "Tables",
    "attention_logits",
    "bias_logits",
    "bias_template",
    "build_tables",
    "delta_logits",
    "read_layer0",
    "read_layer0_pair",
    "read_rope",
    "rotate",
    "score",
]
