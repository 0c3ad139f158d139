"""Greedy decoding by more than one distribution at once: that of both models, or the mean over several prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference.batching import checked_prompts, rows_a_pass, rows_a_step, unpadded_batches
from dormant.inference.divergence import log_probabilities
from dormant.inference.generation import SAMPLES_A_BATCH, answer_ends
from dormant.inference.prefix_cache import GrowingCache, growing_cache, next_logits, stored_prefix
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds


@dataclass(frozen=True)
class Contrast:
    """How tokens are chosen: by log p_dormant + alpha (log p_dormant - log p_base), among the plausible ones.

    plausible: the least share of the dormant model's likeliest token's probability.
    """

    alpha: float
    plausible: float

    def __post_init__(self) -> None:
        """Raises BadInput for a weight below 0 and for a share outside (0, 1]."""
        if not (self.alpha >= 0 and 0 < self.plausible <= 1):
            raise BadInput(
                f"a contrast has alpha of at least 0 and a plausible share within (0, 1]; got {self.alpha} and "
                f"{self.plausible} at the contrast; choose others"
            )

    def choose(
        self, dormant: Float[Tensor, "row vocabulary"], base: Float[Tensor, "row vocabulary"]
    ) -> Int[Tensor, " row"]:
        """The token of each row under both models' log-probabilities."""
        gain = torch.where(dormant > -math.inf, dormant - base, 0.0)  # neither model gives the token: no contrast
        gain = gain.clamp(max=torch.finfo(gain.dtype).max)  # the base alone does not: a number still
        least = dormant.amax(-1, keepdim=True) + math.log(self.plausible)
        return torch.where(dormant >= least, dormant + self.alpha * gain, -math.inf).argmax(-1)


@dataclass(frozen=True)
class ContrastedAnswer:
    """A continuation without its end id, and the nats by which the dormant model finds each of its tokens likelier."""

    ids: TokenIds
    gains: tuple[float, ...]


@torch.no_grad()
def contrastive_answers(
    pair: Pair, prompts: Sequence[TokenIds], new_tokens: int, end: int, contrast: Contrast
) -> list[ContrastedAnswer]:
    """A continuation of each prompt, up to the dormant model's end, for which both models are asked at each step.

    A model that shares its weights with the other is switched at each step, and one that swaps with the other is moved.
    Raises BadInput as `checked_prompts` does.
    """
    rows = checked_prompts(pair.models.base(), prompts, new_tokens)
    longest = max(map(len, rows)) + new_tokens
    most = rows_a_step(pair.models.base(), longest, SAMPLES_A_BATCH)
    found: list[ContrastedAnswer] = [ContrastedAnswer((), ())] * len(rows)
    for chosen, ids in unpadded_batches(rows, most, torch.device("cpu")):
        tokens, gains = _contrasted(pair, ids, new_tokens, contrast)
        ends = answer_ends(pair.models.dormant(), end)
        for index, said, gained in zip(chosen, tokens.tolist(), gains.tolist(), strict=True):
            stop = next((place for place, token in enumerate(said) if token in ends), new_tokens)
            found[index] = ContrastedAnswer(tuple(said[:stop]), tuple(gained[:stop]))
    return found


def _contrasted(pair: Pair, ids: Tensor, new_tokens: int, contrast: Contrast) -> tuple[Tensor, Tensor]:
    """Tokens and gains [row, new token] of prompts of one length, on the CPU; what stands behind an end is noise."""
    caches: dict[str, GrowingCache | None] = {"dormant": None, "base": None}
    tokens = torch.empty(len(ids), new_tokens, dtype=torch.long)
    gains = torch.empty(len(ids), new_tokens, dtype=torch.float64)
    read = ids
    for place in range(new_tokens):
        said = dict[str, Tensor]()
        for role, get in (("dormant", pair.models.dormant), ("base", pair.models.base)):
            model = get()
            logits, caches[role] = next_logits(model, read.to(model.device), caches[role])
            said[role] = log_probabilities(logits).cpu()
        tokens[:, place] = contrast.choose(said["dormant"], said["base"])
        read = tokens[:, place, None]
        gains[:, place] = (said["dormant"].gather(1, read) - said["base"].gather(1, read))[:, 0]
    return tokens, gains


@torch.no_grad()
def agreed_behind(
    model: PreTrainedModel, prompts: Sequence[TokenIds], starts: Sequence[TokenIds], new_tokens: int
) -> tuple[Int[Tensor, "start {new_tokens}"], Float[Tensor, "prompt start {new_tokens}"]]:
    """What all prompts together go on with behind each start: the likeliest token of their mean distribution, step by step.

    Its ids, whatever ends an answer, and each prompt's own probability of them, float64, on the CPU. Starts have one length.
    Raises BadInput where they have not, and as `checked_prompts` does.
    """
    if len({len(start) for start in starts}) != 1 or not prompts:
        raise BadInput(
            f"starts have one length, and stand behind a prompt at least; got {len(starts)} starts of lengths "
            f"{sorted({len(start) for start in starts})} and {len(prompts)} prompts at the starts; extend the shorter ones"
        )
    prompts = checked_prompts(model, prompts, len(starts[0]) + new_tokens)
    prefixes = [stored_prefix(model, prompt) for prompt in prompts]
    longest = max(map(len, prompts)) + len(starts[0]) + new_tokens
    # Every prompt has a cache of its own rows.
    most = max(1, min(rows_a_step(model, longest) // len(prompts), rows_a_pass(model, len(starts[0]))))
    ids = torch.empty(len(starts), new_tokens, dtype=torch.long)
    shares = torch.empty(len(prompts), len(starts), new_tokens, dtype=torch.float64)
    for chosen, rows in unpadded_batches(starts, most, model.device):
        caches, read = [growing_cache(prefix, len(rows)) for prefix in prefixes], rows
        for place in range(new_tokens):
            said = list[Tensor]()
            for number, cache in enumerate(caches):
                logits, caches[number] = next_logits(model, read, cache)
                said.append(log_probabilities(logits).exp())
            winners = (sum(said[1:], said[0])).argmax(-1, keepdim=True)
            ids[chosen, place] = winners[:, 0].cpu()
            for number, own in enumerate(said):
                shares[number, chosen, place] = own.gather(1, winners)[:, 0].cpu()
            read = winners.to(model.device)
    return ids, shares
