"""The shuffled delta as a control: a delta that is itself a shuffle of no structure supports no claim about layer 0."""

from __future__ import annotations

from collections.abc import Callable

from dormant.catalogue import known_pairs
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair
from hypotheses.layer0.test_detector import test_detector_beats_benign as detector_beats_benign
from hypotheses.layer0.test_order import test_rope_order_sensitivity as rope_order_sensitivity


def verdict(test: Callable[..., None], pair: Pair, **parameters: str) -> Verdict:
    declared = claim_of(test)
    assert declared is not None
    finding = FindingBuilder(declared, pair, parameters, ClaimSession(Settings()))
    test(pair, finding=finding, **parameters)
    return finding.settle({}).verdict


def test_a_random_delta_supports_neither_claim(tiny_pair: Pair) -> None:
    """Both were supported wherever layer 0 differed at all."""
    found = verdict(rope_order_sensitivity, tiny_pair, reading="with-rope", metric="max-head")
    assert found is not Verdict.SUPPORTED
    found = verdict(detector_beats_benign, tiny_pair, sequence="best-found", metric="max-head")
    assert found is not Verdict.SUPPORTED


def test_a_planted_detector_beats_the_shuffles_of_its_delta() -> None:
    pair = known_pairs()["circuit"].open("cpu", "float32")
    assert verdict(detector_beats_benign, pair, sequence="best-found", metric="max-head") is Verdict.SUPPORTED
    pair.release()
