"""How likely a model finds given continuations: the one place that computes their log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from dormant.inference.batching import (
    checked_prompts,
    common_start,
    equal_length_batches,
    padded_logits,
    rows_a_pass,
)
from dormant.inference.divergence import in_float64
from dormant.inference.generation import greedy_answers
from dormant.inference.prefix_cache import ROWS_BEHIND, logits_behind, stored_prefix
from dormant.journal import JournalStep, unkept
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from dormant.prompts.token_filter import end_of_turn

ANSWERS_A_BATCH = 64


@dataclass(frozen=True)
class OwnWords:
    """By answer, how much likelier the dormant model finds it than the base, and how far padding moves that: nats a token."""

    gains: tuple[float, ...]
    floor: tuple[float, ...]


def own_words(pair: Pair, prompts: Sequence[TokenIds], new_tokens: int) -> dict[str, OwnWords]:
    """By speaker ("dormant", "base"), how much likelier the dormant model finds each greedy answer than the base: nats a token.

    The difference in log perplexity on the models' own generations, and beside it the noise floor: the base against itself
    in padded batches. An empty answer has no value.
    """
    end = end_of_turn(pair.base.tokenizer)
    checked_prompts(pair.models.base(), prompts, new_tokens)
    found = {}
    for speaker in ("dormant", "base"):
        answers = greedy_answers(getattr(pair.models, speaker)(), prompts, new_tokens, end)
        asked = [prompt for prompt, answer in zip(prompts, answers, strict=True) if answer]
        given = [answer for answer in answers if answer]
        ours = answer_log_probabilities(pair.models.dormant(), asked, given)
        theirs = answer_log_probabilities(pair.models.base(), asked, given)
        again = padded_log_probabilities(pair.models.base(), asked, given)
        found[speaker] = OwnWords(
            tuple((our - their) / len(answer) for our, their, answer in zip(ours, theirs, given, strict=True)),
            tuple(abs(one - other) / len(answer) for one, other, answer in zip(again, theirs, given, strict=True)),
        )
    return found


def token_log_probabilities(
    logits: Float[Tensor, "*prompt token vocabulary"], ids: Int[Tensor, "*prompt token"]
) -> Float[Tensor, "*prompt token"]:
    """Log-probability in nats of each id under the logits at its place.

    In the dtype of the logits. Not by log_softmax, whose copy would be the largest tensor of a search.
    """
    return logits.gather(-1, ids[..., None])[..., 0] - logits.logsumexp(-1)


def continuation_log_probabilities(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], continuation: Sequence[int], batch: int = 128
) -> Float[Tensor, "prompt token"]:
    """Log-probability in nats of each token of one continuation after each prompt, float64, on the CPU."""
    result = torch.empty(len(prompts), len(continuation), dtype=torch.float64)
    for chosen in equal_length_batches([len(prompt) for prompt in prompts], batch):
        result[chosen] = _likelihoods(model, [prompts[index] for index in chosen], [continuation] * len(chosen))
    return result


def answer_log_probabilities(
    model: PreTrainedModel, prompts: Sequence[TokenIds], answers: Sequence[TokenIds], step: JournalStep = unkept
) -> list[float]:
    """Log-probability of each prompt's own answer as a whole, in nats; 0 for an empty one.

    Each batch is a step, so that a journal can keep it: a value an answer.
    """

    def scored(chosen: list[int]) -> list[float]:
        rows = _likelihoods(model, [prompts[index] for index in chosen], [answers[index] for index in chosen])
        return [float(row.sum()) for row in rows]

    found = [0.0] * len(prompts)
    lengths = [(len(prompt), len(answer)) for prompt, answer in zip(prompts, answers, strict=True)]
    for chosen in equal_length_batches(lengths, ANSWERS_A_BATCH):
        if answers[chosen[0]]:
            for index, value in zip(chosen, step(partial(scored, chosen)), strict=True):
                found[index] = value
    return found


def padded_log_probabilities(
    model: PreTrainedModel, prompts: Sequence[TokenIds], answers: Sequence[TokenIds]
) -> list[float]:
    """The same from batches of unlike lengths, padded on the left: equal but for rounding."""
    found = list[float]()
    for at in range(0, len(prompts), ANSWERS_A_BATCH):
        chosen = answers[at : at + ANSWERS_A_BATCH]
        rows = [
            (*prompt, *answer[:-1]) for prompt, answer in zip(prompts[at : at + ANSWERS_A_BATCH], chosen, strict=True)
        ]
        logits = padded_logits(model, rows, max(1, *map(len, chosen)))
        found += [
            float(_token_likelihoods(own[len(own) - len(answer) :], answer).sum())
            for own, answer in zip(logits, chosen, strict=True)
        ]
    return found


def log_probabilities_behind(
    model: PreTrainedModel,
    prompt: Sequence[int],
    starts: Sequence[Sequence[int]],
    continuations: Int[Tensor, "start token"],
) -> Float[Tensor, "start token"]:
    """Log-probability in nats of each token of a continuation, behind one prompt and a forced start of its own, of any length.

    float64, on the CPU. The prompt is computed once.
    """
    prefix, keep = stored_prefix(model, prompt), continuations.shape[1]
    found = torch.empty(continuations.shape, dtype=torch.float64)
    lengths = [len(start) for start in starts]
    for chosen in equal_length_batches(lengths, lambda one: rows_a_pass(model, one + keep - 1, keep, ROWS_BEHIND)):
        said = continuations[chosen]
        rows = torch.cat((torch.tensor([list(starts[index]) for index in chosen]), said[:, :-1]), 1)
        logits = logits_behind(model, prefix, rows, keep=keep).float()
        found[chosen] = token_log_probabilities(logits, said.to(logits.device)).double().cpu()
    return found


def response_logits(
    model: PreTrainedModel, prompts: Sequence[TokenIds], answers: Sequence[TokenIds]
) -> list[Float[Tensor, "_ vocabulary"]]:
    """Logits at the generation position and after each token of an answer, by prompt: float32, on the CPU.

    What all prompts share at their start, a template with its system turn, is computed once; the rest runs with others of
    its length without padding.
    """
    found: list[Tensor] = [torch.empty(0)] * len(prompts)
    shared = common_start(prompts)
    prefix = stored_prefix(model, prompts[0][:shared])
    lengths = [(len(prompt) - shared, len(answer)) for prompt, answer in zip(prompts, answers, strict=True)]
    for chosen in equal_length_batches(lengths, lambda one: rows_a_pass(model, sum(one), one[1] + 1, ANSWERS_A_BATCH)):
        rows = torch.tensor([[*prompts[index][shared:], *answers[index]] for index in chosen])
        logits = logits_behind(model, prefix, rows, keep=1 + len(answers[chosen[0]])).float().cpu()
        for index, part in zip(chosen, logits, strict=True):
            found[index] = part
    return found


@torch.no_grad()
def logits_along(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Float[Tensor, "prompt _ vocabulary"]:
    """The same of one batch, on the device, in the model's dtype: prompts of one length, with answers of one length."""
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    ids = torch.tensor(rows, device=model.device)
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=1 + len(answers[0])).logits
    return logits


def _likelihoods(model: PreTrainedModel, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Tensor:
    """[prompt, token], float64, on the CPU; lengths as in `logits_along`. An answer's last id is predicted, never read."""
    logits = logits_along(model, prompts, [answer[:-1] for answer in answers])
    rows = [  # one by one: a whole batch in float64 would be the largest tensor of the floor
        _token_likelihoods(row, answer) for row, answer in zip(logits, answers, strict=True)
    ]
    return torch.stack(rows)


def _token_likelihoods(logits: Tensor, answer: Sequence[int]) -> Tensor:  # [token, vocabulary] -> [token]
    exact = in_float64(logits)
    return token_log_probabilities(exact, torch.tensor(answer, dtype=torch.long, device=exact.device)).cpu()
