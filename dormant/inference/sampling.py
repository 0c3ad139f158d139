"""Answers drawn at a temperature, each the same whatever else is in its batch, and the same for a seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.journal import Step, unkept
from dormant.prompts.conversations import check_context
from dormant.prompts.material import Decoding


@dataclass(frozen=True)
class Answer:
    """A continuation without its end id, and whether the model ended it within its budget of tokens.

    `log_probability` is that of the whole answer at temperature 1, its end included, in nats; rounding depends on the batch.
    """

    ids: tuple[int, ...]
    ended: bool
    log_probability: float = field(default=0.0, compare=False)


def sampled_answers(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    end: int,
    decoding: Decoding,
    seed: int,
    batch: int = 128,
    step: Step = unkept,
) -> list[Answer]:
    """One answer to each prompt of at most `new_tokens` ids, in the prompts' order; repeat a prompt for reruns.

    The prompt at index i draws from its own stream (seed, i), and prompts of equal length run together without padding: an
    answer depends on neither batch nor company. Each batch is a step, so that a journal can keep it: a row an answer.
    Raises BadInput for an empty prompt or one that the context cannot hold.
    """
    check_context(model, prompts, new_tokens)
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt)].append(index)
    answers: list[Answer] = [Answer((), False)] * len(prompts)
    for members in by_length.values():
        members.sort(key=lambda index: list(prompts[index]))  # reruns of a prompt share a batch, and its start
        for chosen in (members[at : at + batch] for at in range(0, len(members), batch)):
            draws = np.stack([np.random.default_rng([seed, index]).random(new_tokens) for index in chosen])
            ids = torch.tensor([list(prompts[index]) for index in chosen], device=model.device)
            rows = step(partial(_continue, model, ids, torch.from_numpy(draws), end, decoding))
            for index, (continuation, ended, nats) in zip(chosen, rows, strict=True):
                answers[index] = Answer(tuple(continuation), ended, nats)
    return answers


@torch.no_grad()
def _continue(
    model: PreTrainedModel, ids: Tensor, draws: Tensor, end: int, decoding: Decoding
) -> list[tuple[list[int], bool, float]]:
    # ids [row, length], draws [row, step] in [0, 1) -> by row an answer's fields
    distinct, rows_of = torch.unique(ids, dim=0, return_inverse=True)
    step = model(distinct, use_cache=True, logits_to_keep=1)
    step.past_key_values.batch_select_indices(rows_of)
    logits, chosen = step.logits[rows_of, -1], []
    ended, nats = torch.zeros(len(ids), dtype=torch.bool), torch.zeros(len(ids), dtype=torch.float64)
    for place in range(draws.shape[1]):
        here = logits.float().cpu()
        tokens = _pick(here, draws[:, place], decoding)
        nats += torch.where(ended, 0.0, here.log_softmax(-1).gather(-1, tokens[:, None])[:, 0].double())
        chosen.append(torch.where(ended, end, tokens))
        ended |= tokens == end
        if ended.all():
            break
        if place + 1 < draws.shape[1]:
            following = tokens[:, None].to(ids.device)
            step = model(following, past_key_values=step.past_key_values, use_cache=True, logits_to_keep=1)
            logits = step.logits[:, -1]
    rows = torch.stack(chosen, dim=1).tolist()
    return [
        (row[: row.index(end)], True, value) if end in row else (row, False, value)
        for row, value in zip(rows, nats.tolist(), strict=True)
    ]


def _pick(logits: Tensor, draws: Tensor, decoding: Decoding) -> Tensor:
    """The token in whose share of the distribution each draw falls: logits [row, vocabulary], draws [row] -> [row]."""
    if decoding.temperature == 0:
        return logits.argmax(-1)
    shares = (logits.double() / decoding.temperature).softmax(-1)
    if decoding.nucleus >= 1:  # a whole distribution needs no order, and sorting costs more than a small model's step
        return _place(shares, draws)
    shares, tokens = shares.sort(dim=-1, descending=True)
    before = shares.cumsum(-1) - shares
    shares = torch.where(before < decoding.nucleus, shares, 0.0)  # the likeliest token always stays
    return tokens.gather(-1, _place(shares, draws)[:, None])[:, 0]


def _place(shares: Tensor, draws: Tensor) -> Tensor:
    """The first place up to which the shares reach each draw: shares [row, place], draws [row] -> [row]."""
    reach = shares.cumsum(-1)
    found = torch.searchsorted(reach, (draws * reach[:, -1])[:, None], right=True)
    return found[:, 0].clamp(max=shares.shape[-1] - 1)
