"""A claim about biases: whether the change of k_proj's outweighs that of its weight."""

from __future__ import annotations

import pytest

from dormant.catalogue import PairDescription
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import at_least, claim
from dormant.claims.session_state import Settings
from dormant.pairs import Pair
from dormant.pictures.directions import bias_against_weight
from dormant.statistics import exact
from dormant.weights.biases import delta_norms, delta_responses

BIAS_READINGS = {
    "norms-layer-0": 1,
    "norms-all-layers": None,  # the plan set all layers' bias against layer 0's weight
    "responses-layer-0": 1,
}


def applies(pair: PairDescription, settings: Settings, reading: str) -> bool:
    """What a delta adds to a token's key needs the weights."""
    return not reading.startswith("responses") or "weights" in pair.offers


@claim(
    "key-bias-dominance",
    source="exp7",
    rule={
        reading: at_least(0.5, "of both squared norms", because="the larger of two has more than half of their sum")
        for reading in BIAS_READINGS
    },
    premises=["base-is-parent"],
    applies=applies,
)
@pytest.mark.parametrize("reading", list(BIAS_READINGS))
def test_key_bias_dominance(pair: Pair, reading: str, finding: FindingBuilder) -> None:
    """The k_proj bias delta outweighs the k_proj weight delta.

    A number against a threshold, without a control: any fine-tune of the biases may do so.
    Figure: the bias' share of both squared norms, in layer 0 or over all layers. "responses" compares like with like: what
    either adds to a token's key, as a root mean square over the whole vocabulary; a weight's norm alone has yet to be
    multiplied by its input. Where neither was changed the figure is 0.
    """
    norms = delta_norms(pair.delta_report, "k_proj")
    found = delta_responses(pair.base, pair.dormant, "k_proj") if reading.startswith("responses") else norms
    bias, weight = found.sizes(BIAS_READINGS[reading])
    finding.decide(exact(found.share(BIAS_READINGS[reading])), "the bias' share", reading)
    finding.figure("bias delta", exact(bias), "Frobenius norm")
    finding.figure("weight delta", exact(weight), "of a key" if reading.startswith("responses") else "Frobenius norm")
    if pair.delta_report.norm_is_float32:
        finding.note("norms follow from the spectra; the published ones were summed in float32 and are smaller")
    if any((*norms.bias, *norms.weight)):
        finding.picture("norms", bias_against_weight(norms.bias, norms.weight, "k_proj"))
