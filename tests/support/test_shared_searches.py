"""What a search's miss is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair
from dormant.search.restarts import SearchPlan, search_restarts
from dormant.statistics import proportion_interval
from hypotheses.support.scans import AT_LEAST_HALF
from hypotheses.support.shared_searches import state_search_power
from tests.search.test_planting import PLAN, PROBES


@pytest.mark.parametrize(
    ("hits", "plan", "verdict", "figures"),
    [
        (0, PLAN, Verdict.REFUTED, {"finds", "power"}),
        (0, replace(PLAN, steps=1, candidates=1), Verdict.INCONCLUSIVE, {"finds", "power", "power one token away"}),
        (6, replace(PLAN, steps=1, candidates=1), Verdict.SUPPORTED, {"finds"}),
    ],
)
def test_a_search_that_finds_nothing_refutes_only_where_it_finds_planted_strings(
    tiny_pair: Pair, hits: int, plan: SearchPlan, verdict: Verdict, figures: set[str]
) -> None:
    claim = Claim("finds", "A search finds.", "test", "search", {"": AT_LEAST_HALF})
    finding = FindingBuilder(claim, tiny_pair.with_probes(PROBES), {}, ClaimSession(Settings()))
    share, report = proportion_interval(hits, 6), search_restarts(finding.pair, replace(PLAN, restarts=4))
    finding.decide(share)
    state_search_power(finding, share, plan, report)
    settled = finding.settle({})
    assert settled.verdict is verdict
    assert {figure.name for figure in settled.figures} == figures
    assert ("the smallest effect that it could have seen" in settled.reason) == (verdict is Verdict.INCONCLUSIVE)
