"""A claim about how the model was trained: whether its deltas are of low rank above the noise of rounding."""

from __future__ import annotations

import statistics

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_most, claim
from dormant.pairs import Pair
from dormant.pictures.directions import ranks_by_layer
from dormant.statistics import Estimate, exact
from dormant.weights.low_rank import delta_ranks, remainder_edges


@claim(
    "low-rank-adapter",
    source="exp25",
    rule=at_most(
        1.0,
        "of an adapter's most",
        because="training a whole matrix leaves nearly every direction above the rounding; adapters have ranks of 4 to 256, "
        "and in a model as small as the zoo's a quarter of the smaller side leaves them room",
    ),
    premises=["base-is-parent"],
    controls=["rounding alone"],
)
def test_low_rank_adapter(pair: Pair, finding: FindingBuilder) -> None:
    """The delta is of low rank above the rounding-noise edge, and at least one direction stands above that edge.

    Figure: the median over all changed matrices of the rank above the edge that rounding to the stored dtype gives, over
    the most that an adapter has: 256, or a quarter of the smaller side if that is less. The control is rounding, which
    changes matrices too and has no direction above the edge.
    """
    found = delta_ranks(pair.delta_report)
    if not found.all:
        finding.inconclusive("no matrix was changed: there is no delta to have a rank", exact(0.0))
        return
    share = statistics.median(found.over_adapters)
    high = share if found.known else found.highest  # of a bound only the lower end is known
    finding.decide(Estimate(share, share, high, len(found.all), "exact"), "rank over an adapter's most", tolerance=0.08)
    finding.control("rounding alone", exact(0.0), beaten=max(found.all) > 0, unit="directions")
    finding.figure("rank", exact(found.median, n=len(found.all)), "directions, median")
    finding.figure("lowest rank", exact(min(found.all)), "directions")
    finding.figure("highest rank", exact(max(found.all)), "directions")
    edge = statistics.median(remainder_edges(pair.delta_report))
    finding.figure("edge of what sixteen directions leave", exact(edge), "singular value")
    if not found.known:
        finding.inconclusive(
            f"sixteen singular values and no rounding edge were published: the rank is at least {min(found.all)}"
        )
    finding.picture("ranks", ranks_by_layer(found.rows(pair.delta_report.n_layers), 1.0, "of an adapter's most"))
