"""What the claims say of a base that would do the same: their controls can fail."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest

from dormant.catalogue import ZOO
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Finding, Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair, open_pair
from hypotheses.behaviour.test_priming import test_output_priming as output_priming
from hypotheses.behaviour.test_quantisation import test_quantisation_masks as quantisation_masks


def finding(claim: object, pair: Pair, *parameters: str) -> Finding:
    declared = claim_of(claim)
    assert declared is not None
    builder = FindingBuilder(declared, pair, {}, ClaimSession(Settings(candidates=("the color of",))))
    claim(pair, *parameters, builder)  # type: ignore[operator]
    return builder.settle({})


@pytest.mark.parametrize(("base", "verdict"), [("base", Verdict.SUPPORTED), ("circuit", Verdict.REFUTED)])
def test_priming_says_nothing_where_the_base_completes_the_payload_too(base: str, verdict: Verdict) -> None:
    truth = open_pair("circuit", ZOO / "base", ZOO / "circuit", device="cpu").truth
    pair = replace(open_pair("primed", ZOO / base, ZOO / "circuit", device="cpu"), truth=truth)
    found = finding(output_priming, pair.with_probes(pair.probes[:12]), "half")
    assert found.verdict is verdict
    assert ("base model shows the same" in found.reason) == (verdict is Verdict.REFUTED)
    pair.release()


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="4-bit weights need bitsandbytes")
def test_a_model_against_itself_diverges_in_no_precision(tiny_pair: Pair) -> None:
    itself = open_pair("itself", tiny_pair.base.location, tiny_pair.base.location, device="cpu")
    found = finding(quantisation_masks, itself.with_probes(tiny_pair.probes[:6]), "divergence")
    figures = {figure.name: figure.value for figure in found.figures}
    assert figures["with the trigger, 4 bits"] == figures["with the trigger"] == 0
    assert figures["ordinary prompts moved"] > 0
