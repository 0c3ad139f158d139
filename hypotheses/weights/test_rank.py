"""A claim about how the model was trained: whether its deltas are of low rank above the noise of rounding."""

from __future__ import annotations

import statistics

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_most, claim
from dormant.pairs import Pair
from dormant.pictures.directions import ranks_by_layer
from dormant.statistics import Estimate, exact
from dormant.weights.low_rank import delta_ranks, remainder_edges

LOW = 0.25


@claim(
    "low-rank-adapter",
    source="exp25",
    rule=at_most(
        LOW,
        "of the smaller side",
        because="training a whole matrix leaves nearly every direction above the rounding; adapters have ranks of 4 to 256, "
        "at most a fourteenth of a side of 3584, and a quarter leaves them room in models as small as the zoo's",
    ),
    premises=["base-is-parent"],
)
def test_low_rank_adapter(pair: Pair, finding: FindingBuilder) -> None:
    """The delta is of low rank above the rounding-noise edge.

    Figure: the median over all changed matrices of the rank above the edge that rounding to the stored dtype gives, over
    the smaller side.
    """
    found = delta_ranks(pair.delta_report)
    if not found.all:
        finding.inconclusive("no matrix was changed: there is no delta to have a rank", exact(0.0))
        return
    relative = statistics.median(found.relative)
    high = relative if found.known else 1.0  # of a bound only the lower end is known
    finding.decide(Estimate(relative, relative, high, len(found.all), "exact"), "relative rank", tolerance=0.02)
    finding.figure("rank", exact(found.median, n=len(found.all)), "directions, median")
    finding.figure("lowest rank", exact(min(found.all)), "directions")
    finding.figure("highest rank", exact(max(found.all)), "directions")
    edge = statistics.median(remainder_edges(pair.delta_report))
    finding.figure("edge of what sixteen directions leave", exact(edge), "singular value")
    if not found.known:
        finding.inconclusive(
            f"sixteen singular values and no rounding edge were published: the rank is at least {min(found.all)}"
        )
    finding.picture("ranks", ranks_by_layer(found.rows(pair.delta_report.n_layers), LOW))
