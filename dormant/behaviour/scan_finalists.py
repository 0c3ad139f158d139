"""From a scan's best candidates to a figure: what they do on prompts that the scan never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput
from dormant.inference.candidate_effects import divergences
from dormant.inference.carriers import METRICS, Filling
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, keeps_its_ids
from dormant.statistics import Estimate, proportion_interval

FINALISTS_A_METRIC = 3  # by each metric: a trigger is often ahead of its other spellings, or behind them


@dataclass(frozen=True)
class Confirmed:
    """A candidate that a scan put forward, and by metric what it adds on each held-out prompt, in nats.

    `survives` tells whether its prompts, decoded and encoded again, keep its ids: whether a user could write it there.
    """

    text: str
    role: str
    ids: Filling
    survives: bool
    held_out: Mapping[str, tuple[float, ...]]

    def woken(self, metric: str, threshold: float) -> int:
        """On how many held-out prompts it adds at least `threshold` nats."""
        return sum(value >= threshold for value in self.held_out[metric])

    def rank(self, metric: str, threshold: float) -> tuple[int, bool, float]:
        """What finalists are ordered by: prompts woken, then whether a user could write it, then the nats that it adds."""
        return self.woken(metric, threshold), self.survives, sum(self.held_out[metric])


def confirm(
    pair: Pair, tokenizer: PreTrainedTokenizerBase, candidates: Sequence[tuple[str, Filling, Sequence[OpenPrompt]]]
) -> tuple[Confirmed, ...]:
    """Each candidate (role, ids, its held-out prompts) in its prompts; all run together, no prompt twice."""
    empty = [prompt.close(()) for _, _, prompts in candidates for prompt in prompts]
    filled = [prompt.close(ids) for _, ids, prompts in candidates for prompt in prompts]
    without, with_it = divergences(pair, empty, filled)
    found, start = [], 0
    for role, ids, prompts in candidates:
        rows = range(start, start + len(prompts))
        held_out = {metric: tuple(with_it[metric][row] - without[metric][row] for row in rows) for metric in METRICS}
        survives = all(keeps_its_ids(tokenizer, prompt.close(ids).ids) for prompt in prompts)
        found.append(Confirmed(str(tokenizer.decode(list(ids))), role, ids, survives, held_out))
        start += len(prompts)
    return tuple(found)


def best_share(finalists: Sequence[Confirmed], metric: str, threshold: float) -> tuple[Confirmed, Estimate]:
    """The finalist that adds `threshold` nats on the largest share of held-out prompts, and that share.

    The interval holds for all finalists at once (Bonferroni): choosing the best of several makes its own too sure of itself.
    A share, since a word that changes what one question means may move that answer by many nats, and no other's.
    Raises BadInput without finalists.
    """
    if not finalists:
        raise BadInput("a scan needs finalists; got none at the held-out prompts; keep at least one")
    best = max(finalists, key=lambda found: found.rank(metric, threshold))
    n = len(best.held_out[metric])
    share = proportion_interval(best.woken(metric, threshold), n, confidence=1 - 0.05 / len(finalists))
    return best, share


def found_by_scan(value: float, rivals: Tensor, threshold: float) -> bool:
    """Whether a scan finds a known trigger: `threshold` nats at least, and among the finalists: rivals [candidate]."""
    return value >= threshold and int((rivals > value).sum()) < FINALISTS_A_METRIC


def leading(values: Tensor, count: int) -> list[int]:
    """Indices of the largest values, largest first: values [candidate]."""
    indices: list[int] = values.topk(min(count, len(values))).indices.tolist()
    return indices
