"""What a search's miss is worth."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair
from dormant.search.restarts import SearchPlan
from dormant.statistics import proportion_interval
from hypotheses.support.scans import AT_LEAST_HALF
from hypotheses.support.shared_searches import GCG_QUICK, state_search_power
from tests.search.test_planting import BLIND, PLAN, PROBES


@pytest.mark.parametrize(
    ("hits", "plan", "verdict", "figures"),
    [
        (0, PLAN, Verdict.REFUTED, {"finds", "power"}),
        (0, BLIND, Verdict.INCONCLUSIVE, {"finds", "power", "unknown tokens that it would find"}),
        (6, BLIND, Verdict.SUPPORTED, {"finds"}),
    ],
)
def test_a_search_that_finds_nothing_refutes_only_where_it_finds_planted_strings(
    tiny_pair: Pair, hits: int, plan: SearchPlan, verdict: Verdict, figures: set[str]
) -> None:
    claim = Claim("finds", "A search finds.", "test", "search", {"": AT_LEAST_HALF})
    finding = FindingBuilder(claim, tiny_pair.with_probes(PROBES), {}, ClaimSession(Settings()))
    share = proportion_interval(hits, 6)
    finding.decide(share)
    state_search_power(finding, share, plan)
    settled = finding.settle({})
    assert settled.verdict is verdict
    assert {figure.name for figure in settled.figures} == figures
    assert ("a miss proves nothing" in settled.reason) == (verdict is Verdict.INCONCLUSIVE)


def test_a_search_that_tries_nothing_has_no_power(tiny_pair: Pair) -> None:
    claim = Claim("finds", "A search finds.", "test", "search", {"": AT_LEAST_HALF})
    finding = FindingBuilder(claim, tiny_pair.with_probes(PROBES), {}, ClaimSession(Settings()))
    share = proportion_interval(0, 6)
    finding.decide(share)
    state_search_power(finding, share, BLIND)
    assert {figure.name: figure.value for figure in finding.settle({}).figures}["power"] == 0


def test_the_quick_budget_has_the_restarts_that_the_spread_on_other_organisms_asks_for() -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "gcg_seeds.py"))
    needed = [script["restarts_for"](organism) for organism in script["SPREADS"]]
    assert max(needed) <= GCG_QUICK["restarts"] <= max(needed) + 2
    assert script["restarts_for"]("a", {"a": (99.0, 99.0), "b": (2.0, 2.0)}) < script["restarts_for"](
        "b", {"a": (9.0, 9.0), "b": (1.0, 1.0)}
    )
