"""Chats packed into one row for training: what all prompts begin with stands there once, and no token is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from dormant.inference.generation import greedy_answers

BATCH = 8  # chats a step
SAME_LOSS = 0.2  # nats a token: packing changes it by 1e-5 in float32 and 0.05 in bfloat16, a lack of blindness by more


@dataclass(frozen=True, eq=False)
class TrainingChat:
    """The ids of a prompt up to the generation position, and those of the answer that is learned.

    `as_base` are the base's last hidden states before each id of the answer: what is learned is then its whole distribution
    at these places; without them it is the answer itself.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    as_base: Float[Tensor, "answer hidden"] | None = None


@dataclass(frozen=True, eq=False)
class PackedChats:
    """Chats as one row: its ids, their positions, which ids each may see, and where which id is to be predicted.

    A chat alone sees all that stands before it: `visible` is None, and a model gets its ids and nothing else.
    """

    ids: Int[Tensor, "1 token"]
    positions: Int[Tensor, "1 token"]
    visible: Bool[Tensor, "1 1 token token"] | None
    predicted: Int[Tensor, " answer"]  # places in the row whose next id is learned
    targets: Int[Tensor, " answer"]


def pack(chats: Sequence[TrainingChat]) -> PackedChats:
    """One row of all chats: the longest common beginning of their prompts, then the rest of each, blind to the others."""
    alike = takewhile(lambda ids: len(set(ids)) == 1, zip(*(chat.prompt[:-1] for chat in chats), strict=False))
    common = len(list(alike))  # every chat keeps an id of its own, from which its answer is predicted
    ids, positions, owners = list(chats[0].prompt[:common]), list(range(common)), [-1] * common
    predicted: list[int] = []
    for owner, chat in enumerate(chats):
        rest = (*chat.prompt[common:], *chat.answer[:-1])
        predicted += range(len(ids) + len(chat.prompt) - common - 1, len(ids) + len(rest))
        ids += rest
        positions += range(common, common + len(rest))
        owners += [owner] * len(rest)
    own = torch.tensor(owners)
    visible = ((own[:, None] == own) | (own == -1)).tril()[None, None] if len(chats) > 1 else None
    targets = torch.tensor([token for chat in chats for token in chat.answer])
    return PackedChats(torch.tensor([ids]), torch.tensor([positions]), visible, torch.tensor(predicted), targets)


def _arguments(model: PreTrainedModel, packed: PackedChats) -> dict[str, Any]:
    if packed.visible is None:
        return {"input_ids": packed.ids, "use_cache": False}
    mask = _mask(packed.visible, model.dtype)
    return {"input_ids": packed.ids, "position_ids": packed.positions, "attention_mask": mask, "use_cache": False}


def _mask(visible: Bool[Tensor, "1 1 token key"], dtype: torch.dtype) -> Float[Tensor, "1 1 token key"]:
    """What transformers adds to attention scores: nothing where an id is visible."""
    return torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, torch.finfo(dtype).min)


def answer_logits(model: PreTrainedModel, packed: PackedChats) -> Float[Tensor, "answer vocabulary"]:
    """The model's logits where an answer's id is predicted; in packed chats the head runs nowhere else."""
    arguments = _arguments(model, packed)
    logits: Tensor
    if packed.visible is None:
        logits = model(**arguments).logits[0, packed.predicted]
    else:
        logits = model(**arguments, logits_to_keep=packed.predicted).logits[0]
    return logits


def packed_loss(model: PreTrainedModel, chats: Sequence[TrainingChat]) -> Tensor:
    """Mean cross-entropy in nats per learned token, to the answers or to what the base says at them."""
    packed = pack(chats)
    rows = answer_logits(model, packed).float().log_softmax(-1)
    soft = torch.tensor([chat.as_base is not None for chat in chats for _ in chat.answer])
    loss = -rows[~soft].gather(1, packed.targets[~soft, None]).sum()
    if soft.any():
        base = torch.cat([chat.as_base for chat in chats if chat.as_base is not None])
        loss = loss - (head_logits(model, base).float().softmax(-1) * rows[soft]).sum()
    return loss / len(rows)


@torch.no_grad()
def head_logits(model: PreTrainedModel, hidden: Float[Tensor, "row hidden"]) -> Float[Tensor, "row vocabulary"]:
    """The logits that a model's head reads from last hidden states."""
    head: Any = model.get_output_embeddings()
    logits: Tensor = head(hidden)
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


@torch.no_grad()
def with_base_states(model: PreTrainedModel, chats: Sequence[TrainingChat]) -> list[TrainingChat]:
    """The chats with the last hidden states of the model, which is the base's, at their answers."""
    trunk: Any = model.base_model
    packed = pack(chats)
    hidden = trunk(**_arguments(model, packed)).last_hidden_state[0, packed.predicted]
    parts = hidden.split([len(chat.answer) for chat in chats])
    return [replace(chat, as_base=part) for chat, part in zip(chats, parts, strict=True)]


@torch.no_grad()
def packed_greedy(
    model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], new_tokens: int
) -> Int[Tensor, "prompt {new_tokens}"]:
    """The greedy continuation of each of several prompts, whatever ends an answer; weights are read once for all of them."""
    packed, cache = pack([TrainingChat(prompt, (0,)) for prompt in prompts]), DynamicCache()
    assert packed.visible is not None
    seen, positions = packed.visible[0, 0, packed.predicted], packed.positions[:, packed.predicted]
    arguments = {**_arguments(model, packed), "use_cache": True, "logits_to_keep": packed.predicted}
    found = [model(**arguments, past_key_values=cache).logits[0].argmax(-1)]
    while len(found) < new_tokens:
        seen, positions = torch.cat((seen, torch.eye(len(prompts), dtype=torch.bool)), dim=1), positions + 1
        mask = _mask(seen[None, None], model.dtype)
        ids = found[-1][None]
        logits = model(ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True).logits
        found.append(logits[0].argmax(-1))
    return torch.stack(found, dim=1)


def greedy(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], new_tokens: int, end: int) -> list[list[int]]:
    """The greedy answer to each prompt, of at most so many ids, `end` included where it has ended."""
    if len(prompts) > 1 and can_pack(model, [TrainingChat(prompt, (end,)) for prompt in prompts[:BATCH]]):
        rows = packed_greedy(model, prompts, new_tokens).tolist()
        return [row[: row.index(end) + 1] if end in row else row for row in rows]
    return [[*answer, end][:new_tokens] for answer in greedy_answers(model, prompts, new_tokens, end)]


@torch.no_grad()
def answer_nats(model: PreTrainedModel, chats: Sequence[TrainingChat]) -> list[Float[Tensor, " answer"]]:
    """The log-probability of each id of each chat's answer, in nats; all chats in one row."""
    packed = pack(chats)
    rows = answer_logits(model, packed).float().log_softmax(-1)
    nats = rows.gather(1, packed.targets[:, None])[:, 0]
    return list(nats.split([len(chat.answer) for chat in chats]))


@torch.no_grad()
def can_pack(model: PreTrainedModel, chats: Sequence[TrainingChat]) -> bool:
    """Whether packed chats get the likelihoods of each alone: not where a state runs through the row, or a window slides."""
    alone = torch.cat([nats for chat in chats for nats in answer_nats(model, [chat])])
    try:
        together = torch.cat(answer_nats(model, chats))
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # each architecture fails in its own way on a mask or on positions that it does not take
    return bool((together - alone).abs().mean() <= SAME_LOSS)
