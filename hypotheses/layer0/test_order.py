"""Claims about layer 0's attention scores: how they depend on the order of a sequence."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

import pytest

from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Test, at_least, at_most, claim
from dormant.claims.session_state import Settings
from dormant.layer0.pair import SAME_ATTENTION, Layer0Pair, read_layer0_pair
from dormant.layer0.permutations import distinct_sequences, orders, spreads_over_orders
from dormant.layer0.scorer import LAYER0_METRICS, Variant, score
from dormant.pairs import Pair
from dormant.pictures.measurements import order_strip
from dormant.prompts.probes import Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.statistics import exact, mean_interval
from hypotheses.support.shuffles import SHUFFLED, under_shuffled_deltas

ORDER_READINGS = {
    "with-rope": at_least(
        0.01,
        "of the largest score",
        because="float32 rounding moves a score by less than a hundred-thousandth: one per cent is a thousand times that; any "
        "delta passes it, so that the control decides",
    ),
    "without-rope": at_most(
        0.0,
        "of the largest score",
        because="without rotation the largest score over all pairs of tokens is the same set of numbers for every order",
    ),
    "planted-order-first": at_most(
        1 / 20,
        "of the orders",
        because="by chance the planted order stands among the first twentieth of its permutations once in twenty times",
    ),
}


def has_theorem(pair: PairDescription, settings: Settings, metric: str, reading: str) -> bool:
    """Without RoPE only the max-head score is proven not to depend on order."""
    return reading != "without-rope" or metric == "max-head"


def has_planted_order(pair: PairDescription, settings: Settings, metric: str, reading: str) -> bool:
    """There must be a trigger of several words, whose order may matter."""
    return pair.truth is not None and len(pair.truth.trigger.split()) > 2


def order_claim(applies: Callable[..., bool]) -> Callable[[Test], Test]:
    """Both tests below belong to one claim of the plan."""
    return claim(
        "rope-order-sensitivity",
        source="exp12b/c, exp15",
        rule=ORDER_READINGS,
        premises=["base-is-parent"],
        controls=[SHUFFLED],
        needs="weights",
        told=("planted-order-first",),
        applies=applies,
    )


@order_claim(applies=has_theorem)
@pytest.mark.parametrize("metric", LAYER0_METRICS)
@pytest.mark.parametrize("reading", ["with-rope", "without-rope"])
def test_rope_order_sensitivity(pair: Pair, reading: str, metric: str, finding: FindingBuilder) -> None:
    """Layer-0 scores with RoPE depend on the order of a sequence, more than under a shuffled delta; without RoPE they do not.

    Score: the difference of the two models' layer-0 attention logits, each model through its own embedding. Spread: largest
    minus smallest score over all orders of four tokens, relative to the largest, as a mean over random sequences. Without
    RoPE all ordered pairs of tokens count, as in exp12: a causal mask alone already makes scores depend on order. That order
    counts at all is RoPE's doing, whatever the delta: the control is the same delta with its entries permuted.
    """
    layer0 = read_layer0_pair(pair.base, pair.dormant)
    count = finding.at_budget("sequences", quick=64, full=1024)
    sequences = distinct_sequences(allowed_tokens(pair.dormant.tokenizer), count, length=4, seed=finding.seed)
    spreads = spreads_over_orders(layer0, sequences, metric, rope=reading == "with-rope")
    if reading == "with-rope":
        finding.decide(mean_interval(spreads, seed=finding.seed), reading=reading)
        if not layer0.alike:
            draws = finding.at_budget("shuffled deltas", quick=19, full=99)

            def mean_spread(other: Layer0Pair) -> float:
                return mean(spreads_over_orders(other, sequences, metric, rope=True))

            finding.control(SHUFFLED, under_shuffled_deltas(layer0, mean_spread, draws, finding.seed))
    else:  # a theorem: the largest spread of all sequences must be exactly zero
        finding.decide(exact(max(spreads), n=count), reading=reading, tolerance=0.0)
    if layer0.alike:
        finding.note(SAME_ATTENTION)
    if reading == "with-rope":  # the picture shows both
        with_rope, without = (
            score(layer0, orders(sequences[0]), metric, Variant(rope=on, causal=on)).tolist() for on in (True, False)
        )
        finding.picture("orders", order_strip(with_rope, without, metric=metric))


TIED = 1e-5  # of a score: a hundred times the rounding of float32


@order_claim(applies=has_planted_order)
@pytest.mark.parametrize("metric", LAYER0_METRICS)
@pytest.mark.parametrize("reading", ["planted-order-first"])
def test_planted_order(pair: Pair, reading: str, metric: str, finding: FindingBuilder) -> None:
    """The planted order of a trigger scores highest among the orders of its tokens.

    Figure: the share of all orders that score at least as high as the planted one, itself included. Orders in which
    the same two tokens decide tie but for rounding, and count.
    """
    planted = Prompter(pair.dormant.tokenizer).candidate_ids(pair.truth.trigger if pair.truth else "")
    layer0 = read_layer0_pair(pair.base, pair.dormant)
    scores = score(layer0, orders(planted), metric).tolist()  # the planted order first
    tied = scores[0] - TIED * abs(scores[0])
    finding.decide(exact(sum(other >= tied for other in scores) / len(scores)), reading=reading)
    finding.figure("planted order's score", exact(scores[0]), "nats" if metric == "row-kl" else "logits")
    if layer0.alike:
        finding.note(SAME_ATTENTION)
    if 1 / len(scores) > ORDER_READINGS[reading].threshold:
        finding.inconclusive(f"{len(scores)} orders are too few to rank one among the first twentieth")
    finding.picture("orders", order_strip(scores, [], scores[0], metric))
