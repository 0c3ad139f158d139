"""The tokens that every answer of both models begins with, whatever is asked: the generation position lies behind them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from dormant.prompts.probes import TokenIds

CERTAIN = 0.99  # probability from which a token says nothing of the prompt, if it is the same token on every prompt
LONGEST_OPENING = 16  # ids: `<think>`, a channel's name and blank lines; more would be words of the answer


def certain_opening(model: PreTrainedModel, prompts: Sequence[TokenIds], end: int | None = None) -> TokenIds:
    """The ids, at most `LONGEST_OPENING`, each of which the model gives on every prompt with a probability above `CERTAIN`.

    They stop before `end`, the id that ends an answer; none without prompts.
    """
    opening: TokenIds = ()
    while len(opening) < LONGEST_OPENING:
        token = _certain_token(model, [prompt + opening for prompt in prompts])
        if token is None or token == end:
            break
        opening += (token,)
    return opening


def agreed_opening(model: PreTrainedModel, prompts: Sequence[TokenIds], opening: TokenIds) -> TokenIds:
    """The first ids of an opening, as far as this model too is certain of them on every prompt."""
    for prompt in prompts:
        given = _probabilities(model, prompt + opening)[len(prompt) - 1 : -1]
        sure = (given[range(len(opening)), list(opening)] > CERTAIN).tolist()
        opening = opening[: [*sure, False].index(False)]
        if not opening:
            break
    return opening


def _certain_token(model: PreTrainedModel, prompts: Sequence[TokenIds]) -> int | None:
    """The id that is all but certain behind every prompt; the first prompt on which none is ends the search."""
    found: int | None = None
    for prompt in prompts:
        probability, token = _probabilities(model, prompt)[-1].max(dim=-1)
        if probability <= CERTAIN or found not in (None, int(token)):
            return None
        found = int(token)
    return found


@torch.no_grad()
def _probabilities(model: PreTrainedModel, ids: TokenIds) -> torch.Tensor:  # [token, vocabulary]
    logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
    return logits.float().softmax(-1).cpu()
