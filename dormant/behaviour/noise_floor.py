"""The noise floor: how far a model diverges from itself by arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dormant.inference.batching import batch_logits, padded_logits
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Prompt

RESOLUTION = 1e-9  # nats; float32 logits tell no smaller divergence apart


def noise_floors(pair: Pair, prompts: Sequence[Prompt]) -> dict[str, tuple[float, ...]]:
    """KL of the base against itself by prompt, in nats, for each change of arithmetic that should have no effect.

    `batch`: one prompt a batch or many. `padding`: one padded batch with a mask or none. `kernel`: eager or fused attention.
    """
    model = pair.models.base()
    reference = torch.cat([batch_logits(model, [prompt]) for prompt in prompts])
    variants = {
        "batch": batch_logits(model, prompts),
        "padding": padded_logits(model, [prompt.ids for prompt in prompts])[:, -1],
        "kernel": batch_logits(pair.against_itself.models.dormant(), prompts),
    }
    return {name: tuple(kl_divergence(logits, reference).tolist()) for name, logits in variants.items()}
