"""Layer-0 attention from the weights alone: RoPE, logits, scores."""

from dormant.layer0.attention import Layer0, attention_logits, bias_logits, read_layer0
from dormant.layer0.rope import Rope, read_rope, rotate
from dormant.layer0.scorer import Layer0Pair, bias_template, delta_logits, read_layer0_pair, score

__all__ = [
    "Layer0",
    "Layer0Pair",
    "Rope",
    "attention_logits",
    "bias_logits",
    "bias_template",
    "delta_logits",
    "read_layer0",
    "read_layer0_pair",
    "read_rope",
    "rotate",
    "score",
]
