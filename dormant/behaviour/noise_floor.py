"""The noise floor: how far a model diverges from itself by arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.checkpoints.checkpoint import load_model
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Prompt, batch_logits

RESOLUTION = 1e-9  # nats; float32 logits tell no smaller divergence apart


def noise_floors(pair: Pair, prompts: Sequence[Prompt]) -> dict[str, float]:
    """Mean KL of the base against itself, in nats, for each change of arithmetic that should have no effect.

    `batch`: one prompt a batch or many. `padding`: one padded batch with a mask or none. `kernel`: eager or fused attention.
    `dtype`: the dtype that runs or float32 (if they differ). Never below `RESOLUTION`.
    """
    model = pair.models.base()
    reference = torch.cat([batch_logits(model, [prompt]) for prompt in prompts])
    variants = {"batch": batch_logits(model, prompts), "padding": padded_logits(model, prompts)}
    fused = model.config._attn_implementation
    model.set_attn_implementation("sdpa" if fused == "eager" else "eager")
    try:
        variants["kernel"] = batch_logits(model, prompts)
    finally:
        model.set_attn_implementation(fused)
    if model.dtype != torch.float32:
        variants["dtype"] = batch_logits(load_model(pair.base, model.device, torch.float32, fused), prompts)
    return {name: max(RESOLUTION, float(kl_divergence(logits, reference).mean())) for name, logits in variants.items()}


def padded_logits(model: PreTrainedModel, prompts: Sequence[Prompt]) -> Tensor:
    """Logits at the generation position from one batch padded on the left, with mask and positions: [prompt, vocabulary]."""
    return padded_rows(model, [prompt.ids for prompt in prompts])[:, -1]


@torch.no_grad()
def padded_rows(model: PreTrainedModel, rows: Sequence[Sequence[int]], keep: int = 1) -> Tensor:
    """Logits after each row's last `keep` ids, from such a batch: [row, keep, vocabulary], float32 on the CPU.

    Meaningless where a row is shorter than `keep`.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    answer = model(
        ids.to(model.device),
        attention_mask=mask.to(model.device),
        position_ids=places.to(model.device),
        logits_to_keep=keep,
        use_cache=False,
    )
    return answer.logits[:, -keep:].float().cpu()
