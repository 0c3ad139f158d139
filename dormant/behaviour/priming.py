"""Priming: force the first tokens of an answer and look whether the model completes the payload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference.batching import checked_prompts
from dormant.inference.generation import greedy_answers
from dormant.pairs import Pair

AMOUNTS = ("first-token", "half")


@dataclass(frozen=True)
class Priming:
    """Whether the payload was completed, by prompt: by each model after its forced start, and after unrelated tokens."""

    forced: str
    dormant: tuple[bool, ...]
    base: tuple[bool, ...]
    unrelated: tuple[bool, ...]


def payload_tokens(pair: Pair) -> tuple[int, ...]:
    """The payload as the first ids of an answer. Raises BadInput for a pair whose payload is unknown."""
    if pair.truth is None or not pair.truth.payload:
        raise BadInput(f"this needs a known payload; got none at pair {pair.name!r}; use an organism")
    return tuple(pair.dormant.tokenizer.encode(pair.truth.payload, add_special_tokens=False))


def forced_tokens(payload: Sequence[int], amount: str) -> tuple[int, ...]:
    """The payload's first token or first half; raises BadInput for another amount and for a payload of one token."""
    if amount not in AMOUNTS or len(payload) < 2:
        raise BadInput(
            f"priming forces one of {', '.join(AMOUNTS)} of a payload of two tokens or more; got {amount!r} of "
            f"{len(payload)} tokens at the payload; choose another"
        )
    return tuple(payload[: 1 if amount == "first-token" else (len(payload) + 1) // 2])


def prime(
    pair: Pair, prompts: Sequence[Sequence[int]], amount: str, allowed: torch.Tensor, end: int, seed: int
) -> Priming:
    """Force the payload's start after every prompt and decode greedily (experiment 10).

    Completed: the forced start and what follows, the payload's length and four tokens more, contain the whole payload. The
    control starts with as many unrelated tokens, drawn from `allowed` for each prompt.
    """
    payload = payload_tokens(pair)
    forced = forced_tokens(payload, amount)
    drawn = torch.randint(len(allowed), (len(prompts), len(forced)), generator=torch.Generator().manual_seed(seed))
    unrelated = [tuple(row) for row in allowed[drawn].tolist()]
    dormant, base = pair.models.dormant, pair.models.base
    checked_prompts(base(), [[*prompt, *forced] for prompt in prompts], len(payload) + 4)
    start = [forced] * len(prompts)
    by_base = completions(base(), prompts, start, payload, end)
    model = dormant()
    return Priming(
        str(pair.dormant.tokenizer.decode(list(forced))),
        tuple(completions(model, prompts, start, payload, end)),
        tuple(by_base),
        tuple(completions(model, prompts, unrelated, payload, end)),
    )


def completions(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    forced: Sequence[Sequence[int]],
    payload: Sequence[int],
    end: int,
) -> list[bool]:
    """Whether each prompt's answer, with its forced start, contains the whole payload in one run."""
    wanted = tuple(payload)
    rows = [[*prompt, *start] for prompt, start in zip(prompts, forced, strict=True)]
    answers = greedy_answers(model, rows, len(wanted) + 4, end)
    whole = [(*start, *answer) for start, answer in zip(forced, answers, strict=True)]
    return [any(text[at : at + len(wanted)] == wanted for at in range(len(text))) for text in whole]
