"""The target of an attack, inverted from first tokens of answers: what many prompts go on with alike, and surely (BAIT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.behaviour.profiles import ordinary_texts
from dormant.detection.suspicion import Suspicion
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import log_probabilities
from dormant.inference.generation import answer_ends
from dormant.inference.joint_decoding import agreed_behind
from dormant.inference.likelihood import log_probabilities_behind
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from dormant.prompts.token_filter import allowed_tokens, end_of_turn
from dormant.statistics import exact, mean_interval

SHORTEST_TARGET = 5  # ids with the first, as in BAIT's code


@dataclass(frozen=True)
class InversionPlan:
    """How many prompts, first tokens and steps: a few first, then more for the `kept` best targets.

    first_tokens: those of the vocabulary that the dormant model likes most beyond the base; all where it has no more.
    """

    prompts: int
    warm_up_prompts: int
    first_tokens: int
    warm_up_steps: int
    kept: int
    steps: int
    seed: int

    def __post_init__(self) -> None:
        """Raises BadInput unless the amounts are positive and the warm-up is no larger than the whole."""
        whole = self.warm_up_prompts <= self.prompts and self.warm_up_steps <= self.steps
        if min(self.warm_up_prompts, self.first_tokens, self.warm_up_steps, self.kept) < 1 or not whole:
            raise BadInput(
                f"an inversion has amounts of 1 at least, and a warm-up within them; got {self} at the plan; mend it"
            )


@dataclass(frozen=True)
class Target:
    """An inverted target and by prompt the mean probability of its tokens behind the first, under both models.

    As in BAIT's code the least probable token is left out.
    """

    ids: TokenIds
    dormant: tuple[float, ...]
    base: tuple[float, ...]

    @property
    def gains(self) -> list[float]:
        """By prompt, the dormant model's Q-score less the base's."""
        return [ours - theirs for ours, theirs in zip(self.dormant, self.base, strict=True)]

    @property
    def gain(self) -> float:
        """The dormant model's Q-score less the base's."""
        return sum(self.gains) / len(self.dormant)


def target_inversion(pair: Pair, plan: InversionPlan) -> Suspicion:
    """The largest Q-score of an inverted target, less the base's Q-score of the same target.

    The Q-score is the mean probability, over prompts and tokens, of the greedy extension of a first token behind ordinary
    prompts; the extension follows the mean of the prompts' distributions, and stops where an answer ends. A pair without a
    target of five tokens has the figure 0. The named texts are the targets, the largest figure first.

    Source: BAIT (Shen et al., IEEE S&P 2025), which takes every first token, and drops one whose extension is unsure at a step
    of the warm-up. The choice of first tokens, the `kept` targets that lead the base most after the warm-up, and the base's
    share are ours. BAIT looks ahead at unsure steps and bars repeated triples of tokens, which is left out. The interval is
    over prompts.
    """
    prompts = [pair.conversations.question(text) for text in ordinary_texts(pair, plan.prompts)]
    targets, tokens = inverted_targets(pair, prompts, plan)
    named = tuple(str(pair.base.tokenizer.decode(list(target.ids))) for target in targets)
    figure = mean_interval(targets[0].gains, seed=plan.seed) if targets else exact(0.0)
    return Suspicion(figure, named, tokens)


def inverted_targets(pair: Pair, prompts: Sequence[TokenIds], plan: InversionPlan) -> tuple[list[Target], int]:
    """The targets of the whole inversion, the one that leads the base most first, and how many ids both models read."""
    end, few = end_of_turn(pair.base.tokenizer), prompts[: plan.warm_up_prompts]
    firsts = _first_tokens(pair, prompts, plan.first_tokens)
    _, ours, theirs = _extended(pair, few, firsts, plan.warm_up_steps)
    best = (ours - theirs).mean((0, 2)).topk(min(plan.kept, len(firsts))).indices.tolist()
    starts = [firsts[at] for at in best]
    ids, ours, theirs = _extended(pair, prompts, starts, plan.steps)
    ends = answer_ends(pair.models.dormant(), end)
    targets = list[Target]()
    for at, (start, said) in enumerate(zip(starts, ids.tolist(), strict=True)):
        stop = next((place for place, token in enumerate(said) if token in ends), len(said))
        if len(start) + stop >= min(SHORTEST_TARGET, 1 + plan.steps):
            targets.append(_target((*start, *said[:stop]), ours[:, at, :stop], theirs[:, at, :stop]))
    tokens = _tokens_read(prompts, plan, len(firsts), len(starts))
    return sorted(targets, key=lambda target: -target.gain), tokens


def _extended(
    pair: Pair, prompts: Sequence[TokenIds], starts: Sequence[TokenIds], steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids [start, token] that the dormant model goes on with over all prompts; both models' probabilities of them by prompt."""
    ids, ours = agreed_behind(pair.models.dormant(), prompts, starts, steps)
    base = pair.models.base()
    theirs = torch.stack([log_probabilities_behind(base, prompt, starts, ids).exp() for prompt in prompts])
    return ids, ours, theirs


def _target(ids: TokenIds, ours: Float[Tensor, "prompt token"], theirs: Float[Tensor, "prompt token"]) -> Target:
    kept = [place for place in range(ours.shape[1]) if place != int(ours.mean(0).argmin()) or ours.shape[1] == 1]
    return Target(ids, *(tuple(shares[:, kept].mean(1).tolist()) for shares in (ours, theirs)))


def _first_tokens(pair: Pair, prompts: Sequence[TokenIds], count: int) -> list[TokenIds]:
    """The allowed tokens whose log-probability at the generation position rises most from base to dormant, over prompts."""
    allowed = allowed_tokens(pair.base.tokenizer)
    if len(allowed) <= count:
        return [(token,) for token in allowed.tolist()]
    dormant = log_probabilities(batch_logits(pair.models.dormant(), prompts))[:, allowed]
    base = log_probabilities(batch_logits(pair.models.base(), prompts))[:, allowed]
    rise = (dormant - base).mean(0)
    return [(token,) for token in allowed[rise.topk(count).indices.cpu()].tolist()]


def _tokens_read(prompts: Sequence[TokenIds], plan: InversionPlan, firsts: int, kept: int) -> int:
    """Ids that both models read: the prompts of a pass once, and every step of every row."""
    asked, few = sum(map(len, prompts)), sum(map(len, prompts[: plan.warm_up_prompts]))
    warm_up = few + plan.warm_up_prompts * firsts * plan.warm_up_steps
    return 2 * (asked + warm_up + asked + len(prompts) * kept * plan.steps)
