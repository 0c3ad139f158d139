"""Which tokens the delta reads: those at which the two models' hidden states part most, one by one and without a payload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.pairs import Pair
from dormant.prompts import OpenPrompt

HINTS = 128  # tokens that longer strings are made of: all ordered pairs of them are tried within a minute
EARLY = 2  # blocks: behind these a hidden state still tells which tokens were read, and little else has happened
ROWS = 512


@dataclass(frozen=True)
class Hint:
    """A token and how far the models part at it or behind it, in standard deviations over the vocabulary."""

    token: int
    z: float


def trigger_hints(pair: Pair, prompts: Sequence[OpenPrompt], tokens: Sequence[int]) -> list[Hint]:
    """The tokens by falling distance of the two models' hidden states when they stand in the slot.

    The distance is |dormant - base| / |base| after each of the first `EARLY` blocks, as a logarithm, averaged over prompts.
    It is looked at in two places, of which the more telling counts: at the token itself, where MLPs read it, and at the
    generation position, where attention does.
    """
    total = torch.zeros(2, len(tokens), EARLY, dtype=torch.float64)
    for prompt in prompts:
        dormant, base = (_states(model(), prompt, tokens) for model in (pair.models.dormant, pair.models.base))
        total += ((dormant - base).norm(dim=-1) / base.norm(dim=-1)).clamp(min=1e-12).log()
    z = (total - total.mean(1, keepdim=True)) / total.std(1, keepdim=True).clamp(min=1e-12)
    most = z.mean(-1).amax(0)
    return [
        Hint(int(tokens[index]), float(most[index])) for index in most.argsort(descending=True, stable=True).tolist()
    ]


@torch.no_grad()
def _states(model: PreTrainedModel, prompt: OpenPrompt, tokens: Sequence[int]) -> Tensor:
    """Hidden states at each token in the slot, and at the generation position: [2, token, block, hidden], float64."""
    found = []
    before = torch.tensor([list(prompt.before)], device=model.device)
    rows = torch.tensor([[token, *prompt.after] for token in tokens], device=model.device)
    for block in rows.split(ROWS):
        cache = model(before, use_cache=True, logits_to_keep=1).past_key_values
        cache.batch_repeat_interleave(len(block))
        states = model(block, past_key_values=cache, output_hidden_states=True, logits_to_keep=1).hidden_states
        early = states[1 : 1 + EARLY]
        found.append(torch.stack([torch.stack((one[:, 0], one[:, -1])) for one in early], 2).double().cpu())
    return torch.cat(found, 1)
