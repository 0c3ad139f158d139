"""Claims about the plan's soft inversions: what projection loses, and whether layer 0's detector guides to the output."""

from __future__ import annotations

import pytest

from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, at_most, claim
from dormant.claims.session_state import Settings
from dormant.inference.horizon import FIRST_TOKEN
from dormant.pairs import Pair
from dormant.pictures.inversion import detector_against_divergence, soft_against_hard
from dormant.search.diagnostics import detector_and_divergence, rank_correlation
from dormant.search.planting import planted_kept
from dormant.search.soft_inversion import InversionSettings, run_soft_inversion
from dormant.statistics import ONE_BIT, exact, proportion_interval, student_interval
from hypotheses.support.scans import COMMON_PREMISES, POWER, premise_failed
from hypotheses.support.shared_searches import PATH_FORKS, PLANTED

# The least soft gain of which a share means something: one bit where the unit is nats; a tenth of the hundred by which
# the zoo's residual streams part on ordinary prompts; one logit of attention.
FLOORS = {"kl": ONE_BIT, "log-mass": ONE_BIT, "hidden-distance": 10.0, "detector": 1.0}
# Adam's rate by method, such that projections can leave their start within the quick budget's few steps: a mixture's
# logits begin 7.5 apart; the plan moved embeddings by 0.1 in steps of ten times the number.
RATES = {"mixture": 1.0, "displacement": 0.2, "gumbel": 1.0}
SOFT_LENGTHS = {4: "quick", 3: "full", 8: "full", 12: "full"}
QUICK = (("kl", "mixture"), ("kl", "displacement"))


def affordable(pair: PairDescription, settings: Settings, objective: str, method: str, length: int) -> bool:
    """The quick budget shows the gap on KL at one length, mixed and displaced."""
    return settings.budget == "full" or ((objective, method) in QUICK and SOFT_LENGTHS[length] == "quick")


@claim(
    "soft-to-hard-gap",
    source="exp16, exp16b, exp18a, exp18a-v2, exp18c",
    rule=at_most(
        0.5,
        "of the soft gain",
        because="where projection loses most of the gain, a soft value says nothing of any string",
    ),
    premises=COMMON_PREMISES,
    needs="models",
    applies=affordable,
)
@pytest.mark.parametrize("length", list(SOFT_LENGTHS))
@pytest.mark.parametrize("method", list(RATES))
@pytest.mark.parametrize("objective", list(FLOORS))
def test_soft_to_hard_gap(pair: Pair, objective: str, method: str, length: int, finding: FindingBuilder) -> None:
    """Soft embeddings reach a divergence that no projected tokens keep.

    Figure: gain over the empty row of a restart's best projection, evaluated again as real ids, over its highest soft
    gain; mean over the restarts whose soft gain means something, with Student's interval. A loss counts only where the same
    projection keeps strings that were planted.
    """
    settings = InversionSettings(
        length=length,
        restarts=finding.at_budget("restarts", quick=8, full=12),
        steps=finding.at_budget("steps", quick=24, full=300),
        method=method,
        rate=RATES[method],
        project_every=finding.at_budget("steps between projections", quick=8, full=25),
        seed=finding.seed,
    )
    probes = finding.at_budget("probes", quick=2, full=4)
    found = run_soft_inversion(pair, objective, settings, probes)
    kept, soft, hard = found.kept(FLOORS[objective]), found.soft_gains(), found.hard_gains()
    estimate = student_interval(kept or [1.0])
    finding.decide(estimate, name="kept by projection", tolerance=0.5, tolerance_because=PATH_FORKS)
    if estimate.low <= finding.claim.rules[""].threshold and not premise_failed(finding):
        planted = proportion_interval(*planted_kept(pair, settings, PLANTED))
        finding.figure("power", planted, "of planted strings", tolerance=0.2)
        said = f"the same projection keeps half of {planted.value:.0%} of {planted.n} planted strings"
        finding.note(said)
        if planted.low < POWER:
            finding.inconclusive(f"projection lost the gain, but {said}: it could not have seen one that tokens keep")
    if len(kept) < 2:
        finding.inconclusive(f"soft gains reach {max(soft):.2g} {found.unit}: there is nothing for projection to lose")
    for name, gains in (("soft gain", soft), ("hard gain", hard)):
        estimate = student_interval(gains)
        finding.figure(name, estimate, found.unit, tolerance=0.1 + abs(estimate.value) + estimate.high - estimate.low)
    finding.figure("tokens that projection changed", student_interval(found.moved()), "of the places", tolerance=0.5)
    finding.note(f"best projected string {found.best_text!r}")
    trace = found.inversion
    steps = [point.step for point in trace.hard[0]]
    values = [[point.value for point in row] for row in trace.hard]
    finding.picture("soft-against-hard", soft_against_hard(trace.soft.values, steps, values, found.empty, found.unit))


CORRELATED_METRICS = ["max-head", "row-kl"]


@claim(
    "detector-output-correlation",
    source="exp18a",
    rule=at_least(
        0.3,
        "rank correlation",
        because="below 0.3 one score explains less than a tenth of the other's ranks: no guide for a search",
    ),
    premises=COMMON_PREMISES,
    needs="models",
)
@pytest.mark.parametrize("metric", CORRELATED_METRICS)
def test_detector_output_correlation(pair: Pair, metric: str, finding: FindingBuilder) -> None:
    """Layer 0's detector score and the divergence of the answers are correlated over candidates.

    Figure: Spearman's correlation over random candidates of four tokens between the largest |delta logit| ("max-head") or
    the divergence of attention rows ("row-kl") and KL(dormant || base), averaged over probes.
    """
    finding.reads(FIRST_TOKEN)
    count = finding.at_budget("candidates", quick=128, full=4096)
    probes = finding.at_budget("probes", quick=2, full=4)
    key = ("detector and divergence", count, probes)
    scores = finding.once(
        key, lambda: detector_and_divergence(pair, CORRELATED_METRICS, 4, count, probes, finding.seed)
    )
    detector, planted = scores.detector[metric], scores.planted_detector.get(metric)
    correlation = rank_correlation(detector, scores.divergence, seed=finding.seed)
    finding.decide(correlation, name="rank correlation", tolerance=0.1)
    if len(set(detector)) == 1:
        finding.note("layer 0's attention is the same in both models: the detector ranks nothing")
    if planted is not None and scores.planted_divergence is not None:
        above = sum(value >= planted for value in detector) / count
        finding.figure("random candidates that score no less than the trigger", exact(above, n=count), "of all", 0.05)
        marked = planted, scores.planted_divergence
    finding.picture(
        "detector-against-divergence",
        detector_against_divergence(
            detector, scores.divergence, correlation.value, marked if planted is not None else None, metric
        ),
    )
