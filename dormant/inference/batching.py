"""Batches of prompts of one length: no prompt is padded, so that neither batch nor company changes a value."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from dormant.checkpoints.families import context_of
from dormant.errors import BadInput, NotServed
from dormant.prompts.probes import Prompt, TokenIds

PromptLike = Prompt | Sequence[int]
Length = TypeVar("Length", bound=Hashable)
Item = TypeVar("Item")

# What one pass may take: multiplications and additions (a second or two), and bytes of logits in float32.
PASS_WORK = {"cpu": 1e11, "mps": 2e12, "cuda": 4e13}
TIMED = 2048  # ids of the pass that is timed, at most
PASS_BYTES = {"cpu": 2**28, "mps": 2**29, "cuda": 2**31}
CACHE_BYTES = {"cpu": 2**30, "mps": 2**31, "cuda": 2**33}  # of keys and values of the rows that go on together


def tokens_a_pass(model: PreTrainedModel) -> int:
    """How many ids a pass may read, so that a large model still answers Ctrl-C and a budget's end within seconds."""
    embeddings: Any = model.get_input_embeddings()
    weights = sum(parameter.numel() for parameter in model.parameters()) - embeddings.weight.numel()
    return max(1, int(PASS_WORK.get(model.device.type, 1e11) / (2 * max(1, weights))))


def rows_a_pass(model: PreTrainedModel, length: int, keep: int = 1, most: int = 1 << 30) -> int:
    """How many rows of so many ids a pass may hold where logits at the last `keep` of them are kept; `most` at most."""
    embeddings: Any = model.get_input_embeddings()
    by_bytes = PASS_BYTES.get(model.device.type, 2**28) // (4 * keep * len(embeddings.weight))
    return max(1, min(most, by_bytes, tokens_a_pass(model) // max(1, length)))


def checked_prompts(model: PreTrainedModel, prompts: Sequence[PromptLike], new_tokens: int = 0) -> list[TokenIds]:
    """The prompts' ids.

    Raises BadInput where there is no prompt and for an empty one, NotServed for one that is, with so many new tokens, longer
    than the model's context.
    """
    rows = [prompt.ids if isinstance(prompt, Prompt) else tuple(prompt) for prompt in prompts]
    if not rows or not all(rows):
        raise BadInput(
            f"a model needs at least one prompt, of at least one id; got {len(rows)} prompts, "
            f"{sum(not row for row in rows)} empty, at the prompt set; give one"
        )
    limit = context_of(model.config)
    longest = max(range(len(rows)), key=lambda index: len(rows[index]))
    needed = len(rows[longest]) + new_tokens
    if limit is not None and needed > limit:
        raise NotServed(
            f"a prompt with its answer fits into the context of {limit} ids; got {needed} at prompt {longest + 1} of "
            f"{len(rows)}; shorten it or ask for fewer new tokens"
        )
    return rows


def rows_a_step(model: PreTrainedModel, length: int, most: int = 1 << 30) -> int:
    """How many rows may go on by an id a step, each with a cache of up to so many ids; `most` at most."""
    config: Any = model.config.get_text_config()
    heads, size = getattr(config, "num_key_value_heads", None), getattr(config, "head_dim", None)
    width = heads * size if isinstance(heads, int) and isinstance(size, int) else config.hidden_size
    row: int = 2 * config.num_hidden_layers * width * model.dtype.itemsize * max(1, length)
    return max(1, min(rows_a_pass(model, 1, most=most), CACHE_BYTES.get(model.device.type, 2**30) // row))


def equal_length_batches(
    lengths: Sequence[Length], batch: int | Callable[[Length], int], order: Callable[[int], Any] | None = None
) -> Iterator[list[int]]:
    """Indices of at most `batch` rows of one length each, lengths in the order of their first appearance.

    A length may be a tuple, such as a prompt's and its answer's. `order` sorts the rows of one length before they are split.
    batch: for all lengths, or by length.
    """
    groups: dict[Length, list[int]] = {}
    for index, length in enumerate(lengths):
        groups.setdefault(length, []).append(index)
    for length, members in groups.items():
        if order is not None:
            members.sort(key=order)
        size = batch if isinstance(batch, int) else batch(length)
        yield from (members[start : start + size] for start in range(0, len(members), size))


def equal_runs(items: Sequence[Item], count: int) -> list[list[Item]]:
    """The items in at most so many runs of neighbours, as equal as can be."""
    count = min(count, len(items))
    bounds = [len(items) * at // count for at in range(count + 1)]
    return [list(items[start:end]) for start, end in itertools.pairwise(bounds)]


def unpadded_batches(
    prompts: Sequence[Sequence[int]], batch: int | Callable[[int], int], device: torch.device
) -> Iterator[tuple[list[int], Int[Tensor, "prompt token"]]]:
    """Batches of prompts of one length: their indices, and their ids on the device."""
    for chosen in equal_length_batches([len(prompt) for prompt in prompts], batch):
        yield chosen, torch.tensor([list(prompts[index]) for index in chosen], device=device)


def common_start(rows: Sequence[Sequence[int]]) -> int:
    """How many ids all rows share at their start (a template's); at least one of each is left to run behind them."""
    first, shortest = rows[0], min(map(len, rows))
    same = next((at for at in range(shortest) if any(row[at] != first[at] for row in rows)), shortest)
    return min(same, shortest - 1)


@torch.no_grad()
def batch_logits(
    model: PreTrainedModel, prompts: Sequence[PromptLike], batch_size: int = 64
) -> Float[Tensor, "prompt vocabulary"]:
    """Logits at the generation position of every prompt, float32 on the CPU.

    Prompts run in batches of equal length without padding, so that company never changes an answer (float32: 1e-4 nats;
    FACTS 4, mistake 17). Raises BadInput as `checked_prompts` does.
    """
    rows = checked_prompts(model, prompts)
    answers: list[Tensor] = [torch.empty(0)] * len(rows)
    for chosen, ids in unpadded_batches(rows, batch_size, model.device):
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].float().cpu()
        for index, answer in zip(chosen, logits, strict=True):
            answers[index] = answer
    return torch.stack(answers)


@torch.no_grad()
def padded_logits(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], keep: int = 1
) -> Float[Tensor, "row {keep} vocabulary"]:
    """Logits after each row's last `keep` ids from one batch that is padded on the left, with mask and positions.

    float32 on the CPU; meaningless where a row is shorter than `keep`. It is here to measure what
    padding alone changes: nothing else pads.
    """
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    answer = model(
        ids.to(model.device),
        attention_mask=mask.to(model.device),
        position_ids=positions.to(model.device),
        logits_to_keep=keep,
        use_cache=False,
    )
    logits: Tensor = answer.logits[:, -keep:].float().cpu()
    return logits


@torch.no_grad()
def measured_rate(model: PreTrainedModel) -> float:
    """Ids a second that a model runs in a pass that fills the device, the best of three.

    To the nearest power of the root of two, so that noise rarely plans other work.
    """
    embeddings: Any = model.get_input_embeddings()
    ids = torch.arange(min(TIMED, tokens_a_pass(model)), device=model.device) % len(embeddings.weight)
    rows = ids[: len(ids) // 8 * 8].view(-1, 8) if len(ids) >= 8 else ids[None]
    seconds = []
    for _ in range(3):  # the first also sets up
        began = time.perf_counter()
        model(input_ids=rows, use_cache=False, logits_to_keep=1).logits.float().sum().item()
        seconds.append(time.perf_counter() - began)
    return float(2.0 ** (round(2 * math.log2(rows.numel() / min(seconds))) / 2))
