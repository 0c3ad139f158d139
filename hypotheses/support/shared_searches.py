"""The hunts that several claims share: one plan an objective, run once a pair."""

from __future__ import annotations

from dormant.claims.builder import FindingBuilder
from dormant.pairs import Pair
from dormant.search.hunting import Hunt, HuntPlan, hunt

SEARCHED = {"quick": 2, "full": 4}
HELD_OUT = {"quick": 8, "full": 64}


def shared_hunt(pair: Pair, objective: str, length: int, finding: FindingBuilder) -> Hunt:
    """The hunt of this pair under an objective, at the session's budget; its pair may be the control of the finding's."""
    plan = HuntPlan(
        objective=objective,
        length=length,
        restarts=finding.at_budget("restarts", quick=6, full=12),
        steps=finding.at_budget("steps", quick=8, full=200),
        candidates=finding.at_budget("candidates", quick=12, full=64),
        probes=finding.at_budget("probes", **SEARCHED),
        held_out=finding.at_budget("held-out probes", **HELD_OUT),
        seed=finding.seed,
    )
    return finding.once(("hunt", plan), lambda: hunt(pair, plan), pair=pair)
