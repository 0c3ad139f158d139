"""Greedy and sampled answers; none depends on the prompts that share its batch, and a sampled one only on its seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from dormant.checkpoints.models import only_counts
from dormant.checkpoints.trial_pass import spread_ids
from dormant.errors import BadInput
from dormant.inference.batching import (
    checked_prompts,
    equal_length_batches,
    rows_a_pass,
    rows_a_step,
    unpadded_batches,
)
from dormant.inference.forward import choose_forward
from dormant.inference.packed_decoder import Block, Decoder
from dormant.inference.prefix_cache import (
    ROWS_BEHIND,
    GrowingCache,
    growing_cache,
    next_logits,
    prefix_of,
    stored_prefix,
)
from dormant.journal import JournalStep, unkept
from dormant.prompts.material import Decoding

SAMPLES_A_BATCH = 128
NO_END = -1  # no token has this id: as an answer's end it lets it run to its last token

CROWDED = 0.5  # of a batch's rows that go on, below which the ended ones leave it: leaving copies the cache

# logits [row, vocabulary], the token's number and where the rows stand in the batch [row] -> ids [row]
Choose = Callable[[Tensor, int, Tensor], Tensor]
FirstPass = tuple[Tensor, GrowingCache]  # logits [row, vocabulary] behind prompts of one length, and their cache

_DECODED: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


@dataclass(frozen=True)
class Answer:
    """A continuation without its end id, and whether the model ended it within its budget of tokens.

    `log_probability` is that of the whole answer at temperature 1, its end included, in nats; rounding depends on the batch.
    """

    ids: tuple[int, ...]
    ended: bool
    log_probability: float = field(default=0.0, compare=False)


def greedy_answers(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], new_tokens: int, end: int, batch: int = 128
) -> list[tuple[int, ...]]:
    """The model's greedy continuation of each prompt, up to but without the id that ends it.

    That is any that the model's own generation settings name, `end` where they name none; `NO_END` for no end at all.

    No prompt is padded (a padded batch can move logits by nats; FACTS 4, mistake 17): those of one length share the first pass,
    and all share the products of the steps behind it, where their lengths matter in attention alone.
    """
    answers: list[tuple[int, ...]] = [()] * len(prompts)
    batch = rows_a_step(model, max(map(len, prompts), default=1) + new_tokens, most=batch)
    firsts = unpadded_batches(prompts, partial(rows_a_pass, model, most=batch), model.device)
    for groups in _together(firsts, batch):
        begun = [_first_pass(model, ids) for _, ids in groups]
        rows = _continue_together(model, begun, new_tokens, end, lambda logits, *_: logits.argmax(-1))
        chosen = [index for some, _ in groups for index in some]
        for index, row in zip(chosen, rows.tolist(), strict=True):
            answers[index] = tuple(_until(row))
    return answers


def sampled_answers(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    end: int,
    decoding: Decoding,
    seed: int,
    step: JournalStep = unkept,
) -> list[Answer]:
    """One answer to each prompt of at most `new_tokens` ids, in the prompts' order; repeat a prompt for reruns.

    It ends as in `greedy_answers`.

    The prompt at index i draws from its own stream (seed, i), and prompts of equal length run together without padding: an
    answer depends on neither batch nor company. Each batch is a step, so that a journal can keep it: a row an answer.
    Raises BadInput for an empty prompt or one that the context cannot hold.
    """
    checked_prompts(model, prompts, new_tokens)
    answers: list[Answer] = [Answer((), False)] * len(prompts)
    lengths, batch = [len(prompt) for prompt in prompts], SAMPLES_A_BATCH
    size: int | Callable[[int], int] = batch  # a journal's steps must be the same on every device
    if step is unkept:
        batch, size = rows_a_step(model, max(lengths) + new_tokens, batch), partial(rows_a_pass, model, most=batch)
    # sorted, so that reruns of a prompt share a batch and its first pass
    batches = equal_length_batches(lengths, size, order=lambda index: list(prompts[index]))
    listed = ((chosen, torch.tensor([list(prompts[index]) for index in chosen])) for chosen in batches)
    for groups in _together(listed, batch):
        chosen = [index for some, _ in groups for index in some]
        draws = np.stack([np.random.default_rng([seed, index]).random(new_tokens) for index in chosen])
        ids = [rows.to(model.device) for _, rows in groups]
        rows = step(partial(_sample, model, ids, torch.from_numpy(draws), end, decoding))
        for index, (continuation, ended, nats) in zip(chosen, rows, strict=True):
            answers[index] = Answer(tuple(continuation), ended, nats)
    return answers


def greedy_behind(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], starts: Sequence[Sequence[int]], new_tokens: int
) -> tuple[Int[Tensor, "prompt start {new_tokens}"], Float[Tensor, "prompt start {new_tokens}"]]:
    """The greedy continuation of each prompt behind each of many forced starts of any lengths, whatever ends an answer.

    Its ids and their log-probabilities in nats, float64, on the CPU. All prompts and starts share the products of a step.
    """
    prefixes = [stored_prefix(model, prompt) for prompt in prompts]
    longest = max(map(len, prompts)) + max(map(len, starts)) + new_tokens
    at_once = max(1, rows_a_step(model, longest, ROWS_BEHIND) // len(prompts))
    ids = torch.empty(len(prompts), len(starts), new_tokens, dtype=torch.long)
    nats = torch.zeros(len(prompts), len(starts), new_tokens, dtype=torch.float64)
    begun = unpadded_batches(starts, lambda length: min(at_once, rows_a_pass(model, length)), model.device)
    for groups in _together(begun, at_once):
        chosen = [index for some, _ in groups for index in some]
        said = torch.zeros(len(prompts) * len(chosen), new_tokens, dtype=torch.float64)

        def choose(logits: Tensor, place: int, rows: Tensor, said: Tensor = said) -> Tensor:
            value, token = logits.max(-1)
            said[rows.cpu(), place] = (value.float() - logits.float().logsumexp(-1)).double().cpu()
            return token

        parts = [(prefix, rows) for prefix in prefixes for _, rows in groups]
        firsts = [next_logits(model, rows, growing_cache(prefix, len(rows))) for prefix, rows in parts]
        found = _continue_together(model, firsts, new_tokens, NO_END, choose).cpu()
        ids[:, chosen], nats[:, chosen] = found.view_as(ids[:, chosen]), said.view_as(nats[:, chosen])
    return ids, nats


def _sample(
    model: PreTrainedModel, ids: Sequence[Tensor], draws: Tensor, end: int, decoding: Decoding
) -> list[tuple[list[int], bool, float]]:
    # ids [row, length] by length, draws [row, new token] in [0, 1) of all rows -> by row an answer's fields
    nats = torch.zeros(draws.shape, dtype=torch.float64)

    def choose(logits: Tensor, place: int, rows: Tensor) -> Tensor:
        here, rows = logits.float().cpu(), rows.cpu()
        tokens = _pick(here, draws[rows, place], decoding)
        nats[rows, place] = here.log_softmax(-1).gather(-1, tokens[:, None])[:, 0].double()
        return tokens.to(logits.device)

    found = _continue_together(model, [_first_pass(model, some) for some in ids], draws.shape[1], end, choose).tolist()
    rows = [_until(row) for row in found]
    ended = [NO_END in row for row in found]
    values = nats.tolist()  # those behind an end count for nothing
    return [(row, over, sum(own[: len(row) + over])) for row, over, own in zip(rows, ended, values, strict=True)]


def _together(batches: Iterable[tuple[list[int], Tensor]], most: int) -> Iterator[list[tuple[list[int], Tensor]]]:
    """Batches of one length each, as many together as hold at most so many rows."""
    groups: list[tuple[list[int], Tensor]] = []
    for batch in batches:
        if groups and sum(len(chosen) for chosen, _ in groups) + len(batch[0]) > most:
            yield groups
            groups = []
        groups.append(batch)
    if groups:
        yield groups


@torch.no_grad()
def _continue_together(
    model: PreTrainedModel, firsts: Sequence[FirstPass], new_tokens: int, end: int, choose: Choose
) -> Tensor:  # [row, new token] of all, `NO_END` from a row's end on
    """Goes on from first passes over prompts of several lengths, a step for all of them; rows that have ended are dropped."""
    starts = [0, *accumulate(len(logits) for logits, _ in firsts)]
    alive = [torch.arange(one, other, device=firsts[0][0].device) for one, other in pairwise(starts)]
    found = torch.full((starts[-1], new_tokens), NO_END, device=firsts[0][0].device)
    caches = [cache for _, cache in firsts if isinstance(cache, DynamicCache)]
    if len(caches) < len(firsts) or not _is_decoded(model):
        for rows, (logits, cache) in zip(alive, firsts, strict=True):
            mine = _continue(model, logits, cache, new_tokens, end, partial(_choose_for, choose, rows))
            found[rows, : mine.shape[1]] = mine
        return found
    ends = torch.tensor(answer_ends(model, end), dtype=torch.long, device=found.device)
    decoder, table = Decoder(model, join=False), cast(Tensor, model.get_input_embeddings().weight)
    prefixes, logits = [prefix_of(cache) for cache in caches], torch.cat([one for one, _ in firsts])
    for place in range(new_tokens):
        rows = torch.cat(alive)
        tokens = choose(logits, place, rows)
        going = ~torch.isin(tokens, ends)
        found[rows[going], place] = tokens[going]
        parts = zip(going.split(list(map(len, alive))), tokens.split(list(map(len, alive))), strict=True)
        kept = [
            (own[left], some[left], prefix if bool(left.all()) else prefix.only(left))
            for (left, some), own, prefix in zip(parts, alive, prefixes, strict=True)
            if bool(left.any())
        ]
        if not kept or place + 1 == new_tokens:
            break
        alive = [own for own, _, _ in kept]
        logits, prefixes = decoder.step([Block(table[some][:, None], prefix) for _, some, prefix in kept])
    return found


def _choose_for(choose: Choose, rows: Tensor, logits: Tensor, place: int, kept: Tensor) -> Tensor:
    return choose(logits, place, rows[kept])


def _is_decoded(model: PreTrainedModel) -> bool:
    """Whether the packed decoder runs the model, tried once on a few ids; never while hooks change what its layers give.

    The head it calls as it is, with its hooks.
    """
    for module in model.base_model.modules():
        # Before an embedding passes ask and are checked, and ids stay as they are; what counts tokens changes nothing either.
        watched = isinstance(module, torch.nn.Embedding) or all(map(only_counts, module._forward_pre_hooks.values()))
        if module._forward_hooks or not watched:
            return False
    if model not in _DECODED:
        try:
            _DECODED[model] = choose_forward(model, spread_ids(model, 8)) is Decoder
        except BadInput:  # no way to run its embeddings, which generation does not need
            _DECODED[model] = False
    return _DECODED[model]


@torch.no_grad()
def _continue(
    model: PreTrainedModel, logits: Tensor, cache: GrowingCache, new_tokens: int, end: int, choose: Choose
) -> Tensor:  # [row, new token], `NO_END` from a row's end on
    """Goes on from the logits and the cache of a first pass until every row has ended."""
    ends = torch.tensor(answer_ends(model, end), dtype=torch.long, device=logits.device)
    answers = torch.full((len(logits), new_tokens), NO_END, dtype=torch.long, device=logits.device)
    rows = torch.arange(len(logits), device=logits.device)  # that the batch still holds
    ended = torch.zeros_like(rows, dtype=torch.bool)
    for place in range(new_tokens):
        tokens = choose(logits, place, rows)
        ended |= torch.isin(tokens, ends)
        answers[rows, place] = torch.where(ended, NO_END, tokens)
        going = ~ended
        if not going.any():
            return answers[:, : place + 1]
        if going.float().mean() <= CROWDED:
            cache.batch_select_indices(going.nonzero()[:, 0])
            rows, tokens, ended = rows[going], tokens[going], ended[going]
        if place + 1 < new_tokens:
            logits, cache = next_logits(model, tokens[:, None], cache)
    return answers


@torch.no_grad()
def _first_pass(model: PreTrainedModel, ids: Tensor) -> tuple[Tensor, GrowingCache]:
    """Logits [row, vocabulary] and cache of prompts [row, token]; neighbours that are equal are computed once."""
    distinct, row_of = torch.unique_consecutive(ids, dim=0, return_inverse=True)
    logits, cache = next_logits(model, distinct, None)
    if len(distinct) == len(ids):
        return logits, cache
    cache.batch_select_indices(row_of)
    return logits[row_of], cache


def answer_ends(model: PreTrainedModel, end: int) -> list[int]:
    """The ids that end this model's answers: those that its generation settings name, `end` where they name none."""
    if end == NO_END:
        return []
    stated = getattr(model.generation_config, "eos_token_id", None)
    return [end] if stated is None else list(stated) if isinstance(stated, list) else [stated]


def _until(row: list[int]) -> list[int]:
    return row[: row.index(NO_END)] if NO_END in row else row


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
