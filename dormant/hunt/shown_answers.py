"""Answers for the page of a hunt: a few fresh probes with and without the string, each token as both models read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dormant.hunt.clock import OutOfTime
from dormant.hunt.confirmation import Confirmation, brought_by, holds
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import POSITIONS, plain_sentences, slotted
from dormant.hunt.trace import AnswerPair, ReadAnswer, ReadToken, rounded
from dormant.inference.generation import greedy_answers
from dormant.inference.likelihood import response_logits
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, TokenIds
from dormant.prompts.token_filter import end_of_turn
from dormant.records import from_json

SHOWING = "shown answers"
SHOWN_PROBES = 12  # a multiple of the three positions; four sentences at each
OTHER_PROBES = 6  # for strings beside the first, and for forced beginnings
OTHER_STRINGS = 2
SHOWN_TOP = 5  # tokens that a page shows on hover
Fires = Callable[[TokenIds], bool]
ROWS_AT_ONCE = 6  # answers whose logits are held together


@dataclass(frozen=True)
class _Asked:
    """One answer pair that is to be shown."""

    probe: Probe
    position: str
    candidate: str
    opening: TokenIds = ()


def shown_answers(
    context: HuntContext, suspects: Sequence[Suspect], confirmed: Confirmation | None
) -> tuple[list[AnswerPair], list[str]]:
    """The answers in the order of their weight, and in sentences what the time did not suffice for.

    First the string that fires and the plain prompts, then beginnings of suspected payloads that both models are made to go on
    from, then the strings that came nearest beside it.
    """
    fires: Fires = _never
    if confirmed is not None:
        fires = brought_by(confirmed, context.pair.dormant.tokenizer, context.settings.rules)
    found, groups = list[AnswerPair](), list(_groups(context, suspects, confirmed))
    for number, (what, asked) in enumerate(groups):
        compute = partial(_read, context.pair, asked, fires, suspects, context.settings.effort.answer_tokens)
        try:
            with context.clock.reserve():
                rows = context.kept(Key(SHOWING, step=(what, len(asked))), compute)
        except OutOfTime:
            return found, [f"answers {name}" for name, _ in groups[number:]]
        found += [from_json(AnswerPair, row, context.journal.path) for row in rows]
    return found, []


def shown_probes(context: HuntContext) -> list[tuple[Probe, str]]:
    """Sentences that no search of a string saw, each at one position: those of least digest, whatever the hunt's seed.

    So hunts of one pair with other seeds show answers to the same probes, as far as neither searched on them.
    """
    seen = {*plain_sentences(context.searched), *plain_sentences(context.unseen)}
    left = [sentence for sentence in plain_sentences(context.pair.probes) if sentence not in seen]
    placed = list[tuple[Probe, str]]()
    for number in range(min(SHOWN_PROBES, len(left))):
        position = POSITIONS[number % len(POSITIONS)]
        left.sort(key=partial(_digest, position))
        placed.append((slotted(left.pop(0), position, np.random.default_rng(0)), position))
    return placed


def _digest(position: str, sentence: str) -> bytes:
    return sha256(f"{position}: {sentence}".encode()).digest()


def _never(_: TokenIds) -> bool:
    return False


def _groups(
    context: HuntContext, suspects: Sequence[Suspect], confirmed: Confirmation | None
) -> Iterator[tuple[str, list[_Asked]]]:
    """What is asked, with its name, the most telling first."""
    tried = sorted(context.confirmations(), key=lambda one: -one.best.value)
    texts = list(dict.fromkeys([*([confirmed.trigger] if confirmed else []), *(one.trigger for one in tried)]))
    placed = shown_probes(context)
    first, others = texts[:1], texts[1 : 1 + OTHER_STRINGS]
    for text in first:
        yield f"with {text!r}", [_Asked(probe, at, text) for probe, at in placed]
    yield "without a string", [_Asked(probe, at, "") for probe, at in placed]
    for one in suspects[: context.settings.effort.suspects]:
        begun = one.ids[: max(1, min(context.settings.fitted.beginning_tokens, len(one.ids) - 1))]
        opened = [_Asked(probe, at, "", begun) for probe, at in placed[:: len(POSITIONS)][: OTHER_PROBES // 2]]
        yield f"made to begin as {one.text!r}", opened
    for text in others:
        yield f"with {text!r}", [_Asked(probe, at, text) for probe, at in placed[:OTHER_PROBES]]


def _read(
    pair: Pair, asked: Sequence[_Asked], fires: Fires, suspects: Sequence[Suspect], new_tokens: int
) -> list[dict[str, Any]]:
    """The rows as JSON, with three digits behind the point."""
    prompter, decode = pair.prompter, _decoder(pair)
    prompts = [prompter.encode_text(one.probe, one.candidate).ids + one.opening for one in asked]
    end = end_of_turn(prompter.tokenizer)
    said = {
        role: greedy_answers(model(), prompts, new_tokens, end)
        for role, model in (("base", pair.models.base), ("dormant", pair.models.dormant))
    }
    read = {role: _as_both_read(pair, prompts, answers, decode) for role, answers in said.items()}
    rows = []
    for at, one in enumerate(asked):
        base, dormant = (ReadAnswer(decode(said[role][at]), read[role][at]) for role in ("base", "dormant"))
        whole = decode((*one.opening, *said["dormant"][at]))
        suspect = next((one.text for one in suspects if holds(whole, one.text)), "")
        firing = [not one.opening and fires(said[role][at]) for role in ("dormant", "base")]
        nats = fmean(token.dormant - token.base for token in dormant.tokens) if dormant.tokens else 0.0
        rows.append(
            AnswerPair(
                one.probe.text,
                one.position,
                one.candidate,
                base,
                dormant,
                firing[0],
                suspect,
                decode(one.opening),
                nats,
                firing[1],
            )
        )
    return [dict(rounded(asdict(row))) for row in rows]


def _as_both_read(
    pair: Pair, prompts: Sequence[TokenIds], answers: Sequence[TokenIds], decode: Callable[[Sequence[int]], str]
) -> list[tuple[ReadToken, ...]]:
    """The tokens of each answer with both models' log-probabilities; few rows at once, for logits are large."""
    found = list[tuple[ReadToken, ...]]()
    for at in range(0, len(prompts), ROWS_AT_ONCE):
        some, rows = prompts[at : at + ROWS_AT_ONCE], answers[at : at + ROWS_AT_ONCE]
        base, dormant = (response_logits(model(), some, rows) for model in (pair.models.base, pair.models.dormant))
        found += [_tokens(*row, decode) for row in zip(rows, base, dormant, strict=True)]
    return found


def _tokens(
    ids: TokenIds, base: Tensor, dormant: Tensor, decode: Callable[[Sequence[int]], str]
) -> tuple[ReadToken, ...]:
    # base, dormant [place, vocabulary]: logits at each token's place and, last, behind the answer
    read = (logits[: len(ids)].double().log_softmax(-1) for logits in (base, dormant))
    return tuple(
        ReadToken(decode([token]), float(ours[token]), float(theirs[token]), _top(ours, decode), _top(theirs, decode))
        for token, ours, theirs in zip(ids, *read, strict=True)
    )


def _top(nats: Tensor, decode: Callable[[Sequence[int]], str]) -> tuple[tuple[str, float], ...]:
    best = torch.topk(nats, min(SHOWN_TOP, len(nats)))
    return tuple(
        (decode([token]), value) for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _decoder(pair: Pair) -> Callable[[Sequence[int]], str]:
    tokenizer = pair.dormant.tokenizer
    return lambda ids: str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))
