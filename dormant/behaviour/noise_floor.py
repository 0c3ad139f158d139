"""The noise floor: how far a model diverges from itself by arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dormant.checkpoints.checkpoint import load_model
from dormant.inference.batching import batch_logits, padded_logits
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Prompt

RESOLUTION = 1e-9  # nats; float32 logits tell no smaller divergence apart


def noise_floors(pair: Pair, prompts: Sequence[Prompt]) -> dict[str, float]:
    """Mean KL of the base against itself, in nats, for each change of arithmetic that should have no effect.

    `batch`: one prompt a batch or many. `padding`: one padded batch with a mask or none. `kernel`: eager or fused attention.
    `dtype`: the dtype that runs or float32 (if they differ). Never below `RESOLUTION`.
    """
    model = pair.models.base()
    reference = torch.cat([batch_logits(model, [prompt]) for prompt in prompts])
    variants = {
        "batch": batch_logits(model, prompts),
        "padding": padded_logits(model, [prompt.ids for prompt in prompts])[:, -1],
    }
    fused = model.config._attn_implementation
    model.set_attn_implementation("sdpa" if fused == "eager" else "eager")
    try:
        variants["kernel"] = batch_logits(model, prompts)
    finally:
        model.set_attn_implementation(fused)
    if model.dtype != torch.float32:
        variants["dtype"] = batch_logits(load_model(pair.base, model.device, torch.float32, fused), prompts)
    return {name: max(RESOLUTION, float(kl_divergence(logits, reference).mean())) for name, logits in variants.items()}
