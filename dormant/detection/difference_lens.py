"""Activation Difference Lens: what the mean difference of the models' states on unrelated text says (arXiv:2510.13900).

A narrow fine-tune shifts the residual stream alike on every text, and the shift can be read as tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from dormant.activations.steering import Push, steered
from dormant.detection.suspicion import Suspicion
from dormant.errors import NotServed
from dormant.inference.batching import checked_prompts
from dormant.inference.generation import greedy_answers
from dormant.inference.residual_stream import capture, decoder_blocks, logit_lens
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from dormant.prompts.token_filter import end_of_turn
from dormant.statistics import jackknife_interval

FIRST_TOKENS = 5  # of a text: the paper's own number
LENS_GROUPS = 5  # of texts, each left out once for the interval
READ_TOKENS = 20  # of the lens that are named: as many as the paper shows its agent


@dataclass(frozen=True)
class LensPlan:
    """Unrelated texts; how many draws of random signs; to how many of the texts the steered model answers, in how many ids."""

    texts: Sequence[str]
    draws: int = 16
    answers: int = 4
    new_tokens: int = 12


@dataclass(frozen=True, eq=False)
class Shifts:
    """Dormant minus base after the middle block at the first ids of raw texts.

    `distinct`: whether a text is the first of those that have begun alike up to a position, so that each beginning counts once.
    `size`: the mean norm of the dormant model's own states.
    """

    values: Float[Tensor, "text token hidden"]
    distinct: Bool[Tensor, "text token"]
    size: float

    @property
    def norms(self) -> list[float]:
        """By text the mean norm of its differences, over the states' own size."""
        return [float(norm) for norm in self.values.norm(dim=-1).mean(-1) / self.size]

    def without(self, group: int) -> Shifts:
        """The same without every text whose number gives this rest when divided by the number of groups."""
        kept = torch.arange(len(self.values)) % LENS_GROUPS != group
        return Shifts(self.values[kept], self.distinct[kept], self.size)


def state_shifts(pair: Pair, texts: Sequence[str]) -> Shifts:
    """The differences on the first ids of texts, which stand without a chat template. Raises NotServed for too few texts."""
    rows = _first_ids(pair, texts)
    base_model = pair.models.base()
    layer, positions = len(decoder_blocks(base_model)) // 2, range(FIRST_TOKENS)
    base = capture(base_model, rows, [layer], positions)[:, 0].double()
    dormant = capture(pair.models.dormant(), rows, [layer], positions)[:, 0].double()
    seen, distinct = set[TokenIds](), torch.zeros(len(rows), FIRST_TOKENS, dtype=torch.bool)
    for at, row in enumerate(rows):
        for place in positions:
            distinct[at, place] = row[: place + 1] not in seen
            seen.add(row[: place + 1])
    return Shifts(dormant - base, distinct, float(dormant.norm(dim=-1).mean()))


def difference_lens(pair: Pair, plan: LensPlan, seed: int) -> Suspicion:
    """How much more of the vocabulary the lens of the mean difference rules out than that of means with random signs.

    In nats: log of the vocabulary's size less the entropy of the lens's tokens, less the same for means of the same
    differences with random signs; the mean over positions, its interval over groups of texts. 0 for two equal models. Named:
    the lens's first tokens, then what the model answers when the difference, at the size of its states, is added. Layer,
    positions, lens and steering are the paper's, which has 10 000 web texts and an agent that reads; the figure is ours.
    Raises NotServed for too few texts, and for texts that do not fit into the context.
    """
    shifts = state_shifts(pair, plan.texts)
    model = pair.models.dormant()
    generator = torch.Generator().manual_seed(seed)
    signs = 2.0 * torch.randint(2, (plan.draws, len(shifts.values)), generator=generator).double() - 1
    groups = torch.arange(len(shifts.values)) % LENS_GROUPS
    value, mean, logits = _excess(model, shifts, signs)
    left_out = [_excess(model, shifts.without(group), signs[:, groups != group])[0] for group in range(LENS_GROUPS)]
    tokens = len(shifts.values) * FIRST_TOKENS * 2 + (1 + LENS_GROUPS) * (1 + plan.draws) * len(mean)
    estimate = jackknife_interval(value, left_out)
    if not float(mean.norm()):
        return Suspicion(estimate, (), tokens)
    best = logits.double().softmax(-1).mean(0)[: len(pair.base.tokenizer)].topk(READ_TOKENS).indices.tolist()
    read = [str(pair.base.tokenizer.decode([token])).strip() for token in best]
    answers, ran = _steered_answers(pair, plan, mean.mean(0), shifts.size)
    named = dict.fromkeys(text for text in (*read, *answers) if text)
    return Suspicion(estimate, tuple(named), tokens + ran)


def _excess(model: PreTrainedModel, shifts: Shifts, signs: Tensor) -> tuple[float, Tensor, Tensor]:
    """The figure; the mean difference [position, hidden] and its logits, at the positions where texts have begun unlike."""
    kept = shifts.distinct.sum(0) > 1
    weights = (shifts.distinct[:, kept].double() / shifts.distinct[:, kept].sum(0)).T  # [position, text]
    values = shifts.values[:, kept]
    signed = torch.cat((torch.ones_like(signs[:1]), signs))
    means = torch.einsum("pt,dt,tph->dph", weights, signed, values)
    logits = logit_lens(model, means.flatten(0, 1)).view(*means.shape[:2], -1)
    logs = logits.double().log_softmax(-1)
    ruled_out = math.log(logits.shape[-1]) + (logs.exp() * logs).sum(-1)  # [draw, position], nats
    return float((ruled_out[0] - ruled_out[1:].mean(0)).mean()), means[0], logits[0]


def _steered_answers(pair: Pair, plan: LensPlan, direction: Tensor, size: float) -> tuple[list[str], int]:
    """The dormant model's answers to the first texts under the direction at the states' own size, and how many ids it read."""
    prompts = [pair.conversations.question(text) for text in plan.texts[: plan.answers]]
    if not prompts:
        return [], 0
    model = pair.models.dormant()
    checked_prompts(model, prompts, plan.new_tokens)
    push = Push(len(decoder_blocks(model)) // 2, 1.0, (direction / direction.norm() * size).float())
    with steered(model, push):
        answers = greedy_answers(model, prompts, plan.new_tokens, end_of_turn(pair.base.tokenizer))
    said = [str(pair.base.tokenizer.decode(list(answer), skip_special_tokens=True)).strip() for answer in answers]
    return said, sum(map(len, (*prompts, *answers)))


def _first_ids(pair: Pair, texts: Sequence[str]) -> list[TokenIds]:
    rows = [tuple(pair.base.tokenizer.encode(text))[:FIRST_TOKENS] for text in texts]
    rows = [row for row in rows if len(row) == FIRST_TOKENS]
    if len(set(rows)) <= LENS_GROUPS:  # each group is left out once
        raise NotServed(
            f"a lens needs more than {LENS_GROUPS} texts of {FIRST_TOKENS} ids that begin unlike; got {len(set(rows))} of "
            f"{len(texts)} at pair {pair.name!r}; give more texts"
        )
    return rows
