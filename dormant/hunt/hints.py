"""Which tokens the delta reads: those at which the two models' hidden states part most, one by one and without a payload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.pairs import Pair
from dormant.prompts import OpenPrompt

HINTS = 96  # tokens that longer strings are made of: all ordered pairs of them are tried in half a minute
EARLY = 2  # blocks: behind these a token's hidden state still tells the token itself
ROWS = 1024


@dataclass(frozen=True)
class Hint:
    """A token and how far the models part at it, in standard deviations over the vocabulary."""

    token: int
    z: float


def trigger_hints(pair: Pair, prompts: Sequence[OpenPrompt], tokens: Sequence[int]) -> list[Hint]:
    """The tokens by falling distance of the models' hidden states at the token itself.

    The distance is |dormant - base| / |base| after each of the first `EARLY` blocks, as a logarithm, averaged over prompts
    and blocks. Attention is causal: what stands behind the slot does not matter.
    """
    total = torch.zeros(len(tokens), EARLY, dtype=torch.float64)
    for prompt in prompts:
        dormant, base = (
            _hidden_at(model(), prompt.before, tokens) for model in (pair.models.dormant, pair.models.base)
        )
        total += ((dormant - base).norm(dim=-1) / base.norm(dim=-1)).clamp(min=1e-12).log()
    z = ((total - total.mean(0)) / total.std(0).clamp(min=1e-12)).mean(1)
    order = z.argsort(descending=True, stable=True).tolist()
    return [Hint(int(tokens[index]), float(z[index])) for index in order]


@torch.no_grad()
def _hidden_at(model: PreTrainedModel, before: Sequence[int], tokens: Sequence[int]) -> Tensor:
    """Hidden states of each token behind the same prefix: [token, block, hidden], float64."""
    found = []
    for block in torch.tensor(list(tokens), device=model.device).split(ROWS):
        cache = model(torch.tensor([list(before)], device=model.device), use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(block))
        states = model(
            block[:, None], past_key_values=cache, use_cache=True, output_hidden_states=True, logits_to_keep=1
        )
        found.append(torch.stack(states.hidden_states[1 : 1 + EARLY], 1)[:, :, 0].double().cpu())
    return torch.cat(found)
