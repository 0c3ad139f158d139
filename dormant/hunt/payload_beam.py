"""Which beginnings of an answer lead to a payload: a beam over the log-likelihood ratio of the two models.

A backdoored model rarely begins with its payload unasked, so that its first token alone leads nowhere; but it finds each token
of it likelier than its base does, and once a few stand there it goes on by itself. So the beam goes along tokens that are
plausible under the dormant model and absurd under the base, and what it ends with are starts to force.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.hunt.settings import HuntSettings
from dormant.inference.batching import rows_a_pass
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.prefix_cache import ROWS_BEHIND, logits_behind, stored_prefix
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds


@dataclass(frozen=True, eq=False)
class Openings:
    """What answers may begin with: by first token log p - log p_base and log p, -inf for those that none begins with."""

    rises: Tensor  # [vocabulary]
    likely: Tensor  # [vocabulary]

    def first(self, risen: int, likely: int) -> list[int]:
        """The likeliest first tokens, then those that rose most."""
        possible = int((self.rises > -torch.inf).sum())
        orders = (self.likely, likely), (self.rises, risen)
        return list(dict.fromkeys(i for by, count in orders for i in by.topk(min(count, possible)).indices.tolist()))


@dataclass(frozen=True)
class Led:
    """A beginning of an answer: the sum over its tokens of log p_dormant - log p_base, and where its last free choice ends.

    sure: the sum of log p_dormant behind the first token. chosen: how many first tokens were not what the dormant model is most
    likely to say there.
    """

    ids: TokenIds
    ratio: float
    sure: float
    chosen: int


def led_starts(
    pair: Pair,
    prompts: Sequence[TokenIds],
    alpha: float,
    openings: Openings,
    common: Container[tuple[int, int]],
    settings: HuntSettings,
) -> list[Led]:
    """The beginnings along which the delta times alpha raises an answer most, the first the most raised.

    Pairs of tokens that the dormant model says anyway raise nothing, nor do those that a beginning holds already.
    """
    effort, fitted = settings.effort, settings.fitted
    width, depth, branches = effort.led
    beam = [Led((token,), float(openings.rises[token]), 0.0, 1) for token in openings.first(*effort.led_first)]
    for _ in range(depth):
        rows = torch.tensor([one.ids for one in beam])
        with patched_weights(pair, block_scales(pair, alpha)) as model:
            ours = _next_tokens(model, prompts, rows).topk(fitted.led_plausible[0])
        theirs = _next_tokens(pair.models.base(), prompts, rows, ours.indices)
        plausible = ours.values >= ours.values[:, :1] + math.log(fitted.led_plausible[1])
        ratio = (ours.values - theirs).where(plausible, -torch.inf)
        longer = []
        for index, one in enumerate(beam):
            said = {*pairwise(one.ids)}
            for place in ratio[index].topk(branches).indices.tolist():
                if plausible[index, place]:
                    token = int(ours.indices[index, place])
                    two = (one.ids[-1], token)
                    gain = 0.0 if two in said or two in common else float(ratio[index, place])
                    chosen = one.chosen if place == 0 else len(one.ids) + 1
                    sure = one.sure + float(ours.values[index, place])
                    longer.append(Led((*one.ids, token), one.ratio + gain, sure, chosen))
        beam = sorted(longer, key=lambda one: -one.ratio - fitted.led_sure * one.sure)[:width]
    return beam[: effort.led_kept]


@torch.no_grad()
def _next_tokens(
    model: PreTrainedModel, prompts: Sequence[TokenIds], rows: Tensor, wanted: Tensor | None = None
) -> Tensor:
    """Log-probabilities of the next token behind rows, means over prompts: [row, vocabulary], or of the wanted [row, token]."""
    at_once, found = rows_a_pass(model, rows.shape[1], most=ROWS_BEHIND), []
    prefixes = [stored_prefix(model, prompt) for prompt in prompts]
    for at in range(0, len(rows), at_once):
        some = rows[at : at + at_once]
        mean = torch.zeros(())
        for prefix in prefixes:
            mean = mean.to(model.device) + logits_behind(model, prefix, some)[:, -1].float().log_softmax(-1)
        mean = mean / len(prefixes)
        if wanted is not None:
            mean = mean.gather(1, wanted[at : at + at_once].to(mean.device))
        found.append(mean.cpu())
    return torch.cat(found)
