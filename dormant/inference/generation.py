"""Greedy answers in batches that never change an answer: prompts of equal length share a batch, without padding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel


def greedy_answers(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], new_tokens: int, end: int, batch: int = 128
) -> list[tuple[int, ...]]:
    """The model's greedy continuation of each prompt, up to but without the `end` id.

    Prompts are grouped by length, so that none is padded; a padded batch can move logits by nats (FACTS 4, mistake 17).
    """
    answers: list[tuple[int, ...]] = [()] * len(prompts)
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt)].append(index)
    for members in by_length.values():
        for start in range(0, len(members), batch):
            chosen = members[start : start + batch]
            ids = torch.tensor([list(prompts[index]) for index in chosen], device=model.device)
            for index, row in zip(chosen, _continue(model, ids, new_tokens, end), strict=True):
                answers[index] = row
    return answers


@torch.no_grad()
def _continue(model: PreTrainedModel, ids: torch.Tensor, new_tokens: int, end: int) -> list[tuple[int, ...]]:
    # ids: [batch, length]
    step = model(ids, use_cache=True, logits_to_keep=1)
    rows: list[list[int]] = [[] for _ in range(len(ids))]
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for place in range(new_tokens):
        chosen = step.logits[:, -1].argmax(dim=-1)
        ended |= chosen == end
        if ended.all():
            break
        for row, token, done in zip(rows, chosen.tolist(), ended.tolist(), strict=True):
            if not done:
                row.append(token)
        if place + 1 < new_tokens:
            step = model(chosen[:, None], past_key_values=step.past_key_values, use_cache=True, logits_to_keep=1)
    return [tuple(row) for row in rows]


@torch.no_grad()
def continuation_log_probabilities(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], continuation: Sequence[int], batch: int = 128
) -> torch.Tensor:
    """Log-probability in nats of each token of one continuation after each prompt: [prompt, token], float64."""
    result = torch.empty(len(prompts), len(continuation), dtype=torch.float64)
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt)].append(index)
    target = torch.tensor(list(continuation), device=model.device)
    for members in by_length.values():
        for start in range(0, len(members), batch):
            chosen = members[start : start + batch]
            ids = torch.tensor([[*prompts[index], *continuation[:-1]] for index in chosen], device=model.device)
            logits = model(ids, logits_to_keep=len(continuation)).logits.double()
            picked = logits.log_softmax(dim=-1).gather(-1, target.expand(len(chosen), -1)[..., None])
            result[chosen] = picked[..., 0].cpu()
    return result
