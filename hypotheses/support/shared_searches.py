"""The searches that several claims share: one plan an objective, run once a pair."""

from __future__ import annotations

from dormant.claims.builder import FindingBuilder
from dormant.pairs import Pair
from dormant.search.diagnostics import one_token_away
from dormant.search.restarts import SearchPlan, SearchReport, search_restarts

SEARCHED = {"quick": 2, "full": 4}
HELD_OUT = {"quick": 8, "full": 64}
# Why the figures of a search may drift further than others' on another machine.
PATH_FORKS = "a search's path forks on the last bit of a float: other kernels may end at another string of like value"
# Restarts are computed from the spread on other organisms: scripts/gcg_seeds.py, docs/gcg-seeds.md.
GCG_QUICK = {"restarts": 12, "steps": 48, "candidates": 8, "probes": 2, "held_out": 12}
GCG_FULL = {"restarts": 32, "steps": 200, "candidates": 64, "probes": 4, "held_out": 64}


def shared_search(pair: Pair, objective: str, length: int, finding: FindingBuilder) -> SearchReport:
    """The search of this pair under an objective, at the session's budget; its pair may be the control of the finding's."""
    plan = _plan(objective, length, finding)
    return finding.once(("search", plan), lambda: search_restarts(pair, plan), pair=pair)


def shared_reach(pair: Pair, objective: str, length: int, finding: FindingBuilder) -> tuple[int, int] | None:
    """Of how many one-token gaps of the trigger such a search would close how many: (hits, gaps); None where unknown."""
    plan = _plan(objective, length, finding)
    return finding.once(("one token away", plan), lambda: one_token_away(pair, plan), pair=pair)


def _plan(objective: str, length: int, finding: FindingBuilder) -> SearchPlan:
    return SearchPlan(
        objective=objective,
        length=length,
        restarts=finding.at_budget("restarts", quick=6, full=12),
        steps=finding.at_budget("steps", quick=8, full=200),
        candidates=finding.at_budget("candidates", quick=12, full=64),
        probes=finding.at_budget("probes", **SEARCHED),
        held_out=finding.at_budget("held-out probes", **HELD_OUT),
        seed=finding.seed,
        random_search=False,
    )
