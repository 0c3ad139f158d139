"""Claims about layer 0's attention scores: what they know of the order of a sequence."""

from __future__ import annotations

import pytest

from dormant.claims.claim import at_least, at_most, claim
from dormant.claims.laboratory import Settings
from dormant.claims.recorder import Recorder
from dormant.layer0.order import distinct_sequences, orders, relative_spread
from dormant.layer0.scorer import read_layer0_pair, score
from dormant.organisms.catalogue import PairDescription
from dormant.pairs import Pair
from dormant.pictures.measurements import order_strip
from dormant.prompts import Prompter
from dormant.search.gcg import allowed_tokens
from dormant.statistics import Estimate, exact, mean_interval

READINGS = {
    "with-rope": at_least(
        0.01,
        "of the largest score",
        because="float32 rounding moves a score by less than a hundred-thousandth: one per cent is a thousand times that",
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


def applies(pair: PairDescription, settings: Settings, metric: str, reading: str) -> bool:
    """Only the max-head score has the theorem; a planted order needs a known trigger of several words."""
    if reading == "without-rope":
        return metric == "max-head"
    return reading == "with-rope" or (pair.truth is not None and len(pair.truth.trigger.split()) > 2)


@claim(
    "rope-order-sensitivity",
    source="exp12b/c, exp15",
    rule=READINGS,
    premises=["base-is-parent"],
    needs="weights",
    applies=applies,
)
@pytest.mark.parametrize("metric", ["max-head", "band", "row-kl"])
@pytest.mark.parametrize("reading", list(READINGS))
def test_rope_order_sensitivity(pair: Pair, reading: str, metric: str, finding: Recorder) -> None:
    """Layer-0 scores with RoPE tell the orders of a sequence apart; without RoPE they cannot.

    Score: the difference of the two models' layer-0 attention logits, each model through its own embedding. Spread: largest
    minus smallest score over all orders of four tokens, relative to the largest, as a mean over random sequences. Without
    RoPE all ordered pairs count, as in exp12: a causal mask alone would already tell orders apart. The third reading asks
    whether the planted order of a known trigger ranks first among its permutations.
    """
    layer0 = read_layer0_pair(pair.base, pair.dormant)
    if reading == "planted-order-first" and pair.truth is not None:
        planted = Prompter(pair.dormant.tokenizer).candidate_ids(pair.truth.trigger)
        scores = score(layer0, orders(planted), metric)  # the planted order is the first row
        better = int((scores[1:] >= scores[0]).sum())
        finding.decide(exact((1 + better) / len(scores)), reading=reading)
        finding.figure("planted order's score", exact(float(scores[0])), "logits" if metric != "row-kl" else "nats")
        finding.picture("orders", order_strip(scores.tolist(), [], float(scores[0]), metric))
        return
    count = finding.at_budget("sequences", quick=64, full=1024)
    sequences = distinct_sequences(allowed_tokens(pair.dormant.tokenizer), count, length=4, seed=finding.seed)
    rope = reading == "with-rope"
    spreads = [relative_spread(score(layer0, orders(row), metric, rope=rope, causal=rope)) for row in sequences]
    if rope:
        finding.decide(mean_interval(spreads, seed=finding.seed), reading=reading)
    else:  # a theorem: the largest of all sequences must be exactly zero
        finding.decide(
            Estimate(max(spreads), max(spreads), max(spreads), count, "exact"), reading=reading, tolerance=0.0
        )
    strips = [
        score(layer0, orders(sequences[0]), metric, rope=with_rope, causal=with_rope) for with_rope in (True, False)
    ]
    finding.picture("orders", order_strip(strips[0].tolist(), strips[1].tolist(), None, metric))
