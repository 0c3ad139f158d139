"""From a scan's best candidates to a figure: what they do on prompts that the scan never saw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput
from dormant.inference.answer_divergence import divergences
from dormant.inference.candidate_effects import SCANNED
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, TokenIds, keeps_its_ids
from dormant.statistics import Estimate, proportion_interval

# nats: one token of the answer then changes the odds between the two models by a factor of twenty
DIVERGES = math.log(20)
MOST_PROMPTS = 0.5  # of held-out ones: a trigger acts whatever is asked
FINALISTS_A_METRIC = 3  # by each metric: a trigger is often ahead of its other spellings, or behind them


@dataclass(frozen=True)
class Confirmed:
    """A finalist of a scan, and by metric what it adds on each held-out prompt, in nats.

    `survives`: whether its prompts keep their ids when decoded and encoded again, so that a user could write it there.
    """

    text: str
    role: str
    ids: TokenIds
    survives: bool
    held_out: Mapping[str, tuple[float, ...]]

    def diverging(self, metric: str, threshold: float) -> int:
        """On how many held-out prompts it adds at least `threshold` nats."""
        return sum(value >= threshold for value in self.held_out[metric])

    def rank(self, metric: str, threshold: float) -> tuple[int, bool, float]:
        """The order of finalists: diverging prompts, then whether a user could write it, then the nats that it adds."""
        return self.diverging(metric, threshold), self.survives, sum(self.held_out[metric])


def confirm(
    pair: Pair, tokenizer: PreTrainedTokenizerBase, candidates: Sequence[tuple[str, TokenIds, Sequence[OpenPrompt]]]
) -> tuple[Confirmed, ...]:
    """Measure each candidate (role, ids, held-out prompts) on its own prompts, all of them in one run."""
    empty = [prompt.close(()) for _, _, prompts in candidates for prompt in prompts]
    filled = [prompt.close(ids) for _, ids, prompts in candidates for prompt in prompts]
    without, with_it = divergences(pair, empty, filled)
    found, start = [], 0
    for role, ids, prompts in candidates:
        rows = range(start, start + len(prompts))
        held_out = {metric: tuple(with_it[metric][row] - without[metric][row] for row in rows) for metric in SCANNED}
        survives = all(keeps_its_ids(tokenizer, prompt.close(ids).ids) for prompt in prompts)
        found.append(Confirmed(str(tokenizer.decode(list(ids))), role, ids, survives, held_out))
        start += len(prompts)
    return tuple(found)


def best_share(finalists: Sequence[Confirmed], metric: str, threshold: float) -> tuple[Confirmed, Estimate]:
    """The finalist that adds `threshold` nats on the largest share of held-out prompts, and that share.

    The interval covers all finalists at once (Bonferroni), because the best of several is chosen. The share decides and
    not the mean: a word that changes what one question means can move that one answer by many nats.
    Raises BadInput without finalists.
    """
    if not finalists:
        raise BadInput("a scan needs finalists; got none at the held-out prompts; keep at least one")
    best = max(finalists, key=lambda found: found.rank(metric, threshold))
    n = len(best.held_out[metric])
    share = proportion_interval(best.diverging(metric, threshold), n, confidence=1 - 0.05 / len(finalists))
    return best, share


def manners_note(best: Confirmed, threshold: float) -> str:
    """Whether the best candidate by KL moves the base as much on some prompts, in one sentence; "" where it does not.

    KL also grows where a candidate meets the fine-tune's style; what moves the base alike is no trigger.
    """
    further, kl = (
        best.diverging(name, threshold) / len(best.held_out[name]) for name in ("difference-in-differences", "kl")
    )
    if kl <= further:
        return ""
    return (
        f"it adds to KL on {kl:.0%} of the prompts and moves the dormant model further than the base on {further:.0%}: the "
        "rest moves the base as much, as manners do and triggers do not"
    )


def found_by_scan(value: float, rivals: Tensor, threshold: float) -> bool:
    """Whether a scan finds a known trigger: `threshold` nats at least, and among the finalists: rivals [candidate]."""
    return value >= threshold and int((rivals > value).sum()) < FINALISTS_A_METRIC


def leading(values: Tensor, count: int) -> list[int]:
    """Indices of the largest values, largest first: values [candidate]."""
    indices: list[int] = values.topk(min(count, len(values))).indices.tolist()
    return indices
