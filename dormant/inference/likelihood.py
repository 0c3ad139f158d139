"""How likely each model finds answers, its own and the other's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.behaviour.noise_floor import padded_rows
from dormant.behaviour.priming import answer_end
from dormant.inference.generation import greedy_answers
from dormant.journal import Step, unkept
from dormant.pairs import Pair
from dormant.prompts.conversations import check_context
from dormant.prompts.probes import Prompter

BATCH = 64

Ids = tuple[int, ...]


@dataclass(frozen=True)
class OwnWords:
    """By answer, how much likelier the dormant model finds it than the base, and how far padding moves that: nats a token."""

    gains: tuple[float, ...]
    floor: tuple[float, ...]


def own_words(pair: Pair, prompts: Sequence[Ids], new_tokens: int) -> dict[str, OwnWords]:
    """By speaker ("dormant", "base"), how much likelier the dormant model finds each greedy answer than the base: nats a token.

    The difference in log perplexity on the models' own generations, and beside it the noise floor: the base against itself
    in padded batches. An empty answer has no value.
    """
    end = answer_end(Prompter(pair.base.tokenizer))
    check_context(pair.models.base(), prompts, new_tokens)
    found = {}
    for speaker in ("dormant", "base"):
        answers = greedy_answers(getattr(pair.models, speaker)(), prompts, new_tokens, end)
        asked = [prompt for prompt, answer in zip(prompts, answers, strict=True) if answer]
        spoken = [answer for answer in answers if answer]
        ours = answer_log_probabilities(pair.models.dormant(), asked, spoken)
        theirs = answer_log_probabilities(pair.models.base(), asked, spoken)
        again = padded_log_probabilities(pair.models.base(), asked, spoken)
        found[speaker] = OwnWords(
            tuple((our - their) / len(answer) for our, their, answer in zip(ours, theirs, spoken, strict=True)),
            tuple(abs(one - other) / len(answer) for one, other, answer in zip(again, theirs, spoken, strict=True)),
        )
    return found


def answer_log_probabilities(
    model: PreTrainedModel, prompts: Sequence[Ids], answers: Sequence[Ids], step: Step = unkept
) -> list[float]:
    """Log-probability of each prompt's own answer as a whole, in nats; 0 for an empty one.

    Each batch is a step, so that a journal can keep it: a value an answer.
    """
    given = [answer[:-1] for answer in answers]

    def scored(chosen: list[int]) -> list[float]:
        logits = _batch_response(model, prompts, given, chosen)
        return [_log_probability(rows, answers[index]) for index, rows in zip(chosen, logits, strict=True)]

    found = [0.0] * len(prompts)
    for chosen in _equal_lengths(prompts, given):
        for index, value in zip(chosen, step(partial(scored, chosen)), strict=True):
            found[index] = value
    return found


def padded_log_probabilities(model: PreTrainedModel, prompts: Sequence[Ids], answers: Sequence[Ids]) -> list[float]:
    """The same from batches of unlike lengths, padded on the left: equal but for rounding."""
    found = list[float]()
    for at in range(0, len(prompts), BATCH):
        chosen = answers[at : at + BATCH]
        rows = [(*prompt, *answer[:-1]) for prompt, answer in zip(prompts[at : at + BATCH], chosen, strict=True)]
        logits = padded_rows(model, rows, max(1, *map(len, chosen)))
        found += [
            _log_probability(own[len(own) - len(answer) :], answer) for own, answer in zip(logits, chosen, strict=True)
        ]
    return found


def response_logits(model: PreTrainedModel, prompts: Sequence[Ids], answers: Sequence[Ids]) -> list[Tensor]:
    """Logits at the generation position and after each token of an answer: by prompt [1 + answer, vocabulary], on the CPU.

    Prompts of equal lengths run together without padding.
    """
    found: list[Tensor] = [torch.empty(0)] * len(prompts)
    for chosen in _equal_lengths(prompts, answers):
        for index, rows in zip(chosen, _batch_response(model, prompts, answers, chosen), strict=True):
            found[index] = rows
    return found


def _equal_lengths(prompts: Sequence[Ids], answers: Sequence[Ids]) -> Iterator[list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        groups.setdefault((len(prompt), len(answer)), []).append(index)
    for members in groups.values():
        yield from (members[at : at + BATCH] for at in range(0, len(members), BATCH))


@torch.no_grad()
def _batch_response(
    model: PreTrainedModel, prompts: Sequence[Ids], answers: Sequence[Ids], chosen: Sequence[int]
) -> Tensor:  # [chosen, 1 + answer, vocabulary]
    ids = torch.tensor([[*prompts[index], *answers[index]] for index in chosen], device=model.device)
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=1 + len(answers[chosen[0]])).logits
    return logits.float().cpu()


def _log_probability(rows: Tensor, answer: Ids) -> float:  # rows [answer, vocabulary]
    if not answer:
        return 0.0
    return float(rows.double().log_softmax(-1).gather(-1, torch.tensor(answer)[:, None]).sum())
