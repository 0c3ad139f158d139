"""How far two models lie apart along the dormant one's own answer: KL, JS, disagreement and difference in differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from statistics import fmean

from jaxtyping import Float
from torch import Tensor

from dormant.inference.batching import checked_prompts
from dormant.inference.divergence import js_divergence, kl_divergence
from dormant.inference.generation import greedy_answers, sampled_answers
from dormant.inference.horizon import FIRST_TOKEN, Horizon
from dormant.inference.likelihood import response_logits
from dormant.pairs import Pair
from dormant.prompts.material import Decoding
from dormant.prompts.probes import Prompt, TokenIds
from dormant.prompts.token_filter import end_of_turn

SAMPLED = Decoding(temperature=1.0)
LOGITS_KEPT = 2**30  # bytes of both models' logits at once
DIFFERENCE = "difference-in-differences"

Rows = Mapping[str, tuple[float, ...]]  # metric -> one value a prompt
Places = Float[Tensor, "place vocabulary"]  # logits at an answer's first tokens


def kl_along(dormant: Places, base: Places) -> float:
    """KL(dormant || base) of an answer's first tokens: the sum over its places, by the chain rule, in nats.

    Its mean over answers that the dormant model draws is the divergence of the two distributions of such answers.
    """
    return float(kl_divergence(dormant, base).sum())


def js_along(dormant: Places, base: Places) -> float:
    """The Jensen-Shannon divergence of one of the answer's tokens, the mean over its places: nats, within [0, ln 2]."""
    return float(js_divergence(dormant, base).mean())


def disagreement_along(dormant: Places, base: Places) -> float:
    """The share of the answer's places at which the models name different likeliest tokens."""
    return float((dormant.argmax(-1) != base.argmax(-1)).double().mean())


ALONG: Mapping[str, Callable[[Places, Places], float]] = {
    "kl": kl_along,
    "js": js_along,
    "top1-disagreement": disagreement_along,
}
EFFECT_METRICS = (*ALONG, DIFFERENCE)


def own_answers(pair: Pair, prompts: Sequence[TokenIds], horizon: Horizon) -> list[tuple[TokenIds, ...]]:
    """By prompt the starts of the dormant model's own answers behind which a divergence within the horizon stands.

    Each has one token less than the horizon, whose last is predicted and never read, or fewer where the answer ends before. A
    drawn one depends on the seed and on its prompt's place among the prompts.
    Raises BadInput for a prompt that the context cannot hold with its answer.
    """
    read, model = horizon.tokens - 1, pair.models.dormant()
    checked_prompts(model, prompts, read)
    if not read:
        return [((),)] * len(prompts)
    end = end_of_turn(pair.base.tokenizer)
    if not horizon.samples:
        return [(answer,) for answer in greedy_answers(model, prompts, read, end)]
    repeated = [prompt for prompt in prompts for _ in range(horizon.samples)]
    drawn = [answer.ids for answer in sampled_answers(model, repeated, read, end, SAMPLED, horizon.seed)]
    return [tuple(drawn[at : at + horizon.samples]) for at in range(0, len(drawn), horizon.samples)]


def divergences(
    pair: Pair, empty: Sequence[Prompt], filled: Sequence[Prompt], horizon: Horizon = FIRST_TOKEN
) -> tuple[Rows, Rows]:
    """Every metric on the prompts without and with the candidate, within the horizon, each along its own prompt's answer.

    "kl" is KL(dormant || base), "js" the Jensen-Shannon divergence of a token, "top1-disagreement" the share of tokens at
    which the likeliest differ; "difference-in-differences" is how much more the candidate moves the dormant model than the
    base along the answer to the prompt with it, and 0 without it. Nats, but for the share. Each model reads all prompts in
    one go, so that one at a time may be on the device, as far as the logits of all fit into `LOGITS_KEPT`.
    """
    distinct = list(dict.fromkeys(prompt.ids for prompt in (*empty, *filled)))
    answers = dict(zip(distinct, own_answers(pair, distinct, horizon), strict=True))
    pairs = [(without.ids, with_it.ids) for without, with_it in zip(empty, filled, strict=True)]
    vocabulary = len(pair.base.tokenizer)
    at_once = max(1, LOGITS_KEPT // (8 * 3 * horizon.tokens * max(1, horizon.samples) * vocabulary))
    rows = [row for at in range(0, len(pairs), at_once) for row in _measured(pair, pairs[at : at + at_once], answers)]
    before, after = ({metric: tuple(row[side][metric] for row in rows) for metric in EFFECT_METRICS} for side in (0, 1))
    return before, after


def _measured(
    pair: Pair, pairs: Sequence[tuple[TokenIds, TokenIds]], answers: Mapping[TokenIds, tuple[TokenIds, ...]]
) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """The metrics of each prompt without and with its candidate."""
    needed = [
        context
        for empty, filled in pairs
        for prompt, said in ((empty, empty), (filled, filled), (empty, filled))
        for context in product([prompt], answers[said])
    ]
    contexts = list(dict.fromkeys(needed))
    base, dormant = (
        dict(zip(contexts, response_logits(model(), *zip(*contexts, strict=True)), strict=True))
        for model in (pair.models.base, pair.models.dormant)
    )

    @cache
    def along(prompt: TokenIds) -> dict[str, float]:
        own = [(dormant[prompt, answer], base[prompt, answer]) for answer in answers[prompt]]
        return {metric: fmean(measure(*both) for both in own) for metric, measure in ALONG.items()}

    for empty, filled in pairs:
        moved = fmean(
            kl_along(dormant[filled, answer], dormant[empty, answer])
            - kl_along(base[filled, answer], base[empty, answer])
            for answer in answers[filled]
        )
        yield along(empty) | {DIFFERENCE: 0.0}, along(filled) | {DIFFERENCE: moved}
