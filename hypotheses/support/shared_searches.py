"""The searches that several claims share: one plan an objective, run once a pair; and what a search's miss is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dormant.claims.builder import FindingBuilder
from dormant.inference.horizon import FIRST_TOKEN
from dormant.pairs import Pair
from dormant.search.planting import planted_found
from dormant.search.restarts import SearchPlan, SearchReport, search_restarts
from dormant.statistics import Estimate, exact, proportion_interval
from hypotheses.support.scans import POWER, premise_failed

SEARCHED = {"quick": 2, "full": 4}
HELD_OUT = {"quick": 8, "full": 64}
# Why the figures of a search may drift further than others' on another machine.
PATH_FORKS = "a search's path forks on the last bit of a float: other kernels may end at another string of like value"
MOST_HELD_OUT = 0.5  # of the held-out probes, on which a string is to fire
PLANTED = 40  # strings: they cost no model's time
# Restarts are computed from the spread on other organisms: scripts/gcg_seeds.py, docs/gcg-seeds.md.
GCG_QUICK = {"restarts": 12, "steps": 48, "candidates": 8, "probes": 2, "held_out": 12}
GCG_FULL = {"restarts": 32, "steps": 200, "candidates": 64, "probes": 4, "held_out": 64}


def shared_search(pair: Pair, objective: str, length: int, finding: FindingBuilder) -> SearchReport:
    """The search of this pair under an objective, at the session's budget; its pair may be the control of the finding's."""
    plan = search_plan(objective, length, finding)
    return finding.once(("search", plan), lambda: search_restarts(pair, plan), pair=pair)


def state_search_power(finding: FindingBuilder, estimate: Estimate, plan: SearchPlan, reading: str = "") -> None:
    """Where a search missed: how often the same search finds planted strings. One that finds too few has refuted nothing.

    A miss without power is inconclusive; the reason says how many unknown tokens of a string it could have found at most.
    """
    if finding.claim.rules[reading].holds(estimate.high) or premise_failed(finding):
        return

    def power(missing: int) -> Estimate:
        # No model runs: the same under every objective, for all pairs of one base.
        key, pair = ("planted", replace(plan, objective="planted"), missing), finding.pair
        found = finding.once(key, lambda: planted_found(pair, plan, PLANTED, missing), pair=pair.against_itself)
        return proportion_interval(*found)

    whole = power(plan.length)
    finding.figure("power", whole, "of planted strings", tolerance=0.2)
    said = (
        f"the same search ends in {whole.value:.0%} of {whole.n} planted strings ({whole.low:.0%} to {whole.high:.0%})"
    )
    finding.note(said)
    if whole.low < POWER:
        reach = next((missing for missing in range(plan.length, 0, -1) if power(missing).low >= POWER), 0)
        finding.figure("unknown tokens that it would find", exact(reach), f"of {plan.length}", tolerance=1.0)
        finding.inconclusive(
            f"a miss proves little: the smallest effect that it could have seen is a string of which {reach} of {plan.length} "
            "tokens are unknown"
            if reach
            else f"a miss proves nothing: it finds no string of which even one of {plan.length} tokens is unknown"
        )


def gcg_plan(length: int, seed: int, sizes: Mapping[str, int]) -> SearchPlan:
    """The plan of the claim `gcg-convergence` with sizes like those of GCG_QUICK and GCG_FULL."""
    return SearchPlan(
        length=length,
        restarts=sizes["restarts"],
        steps=sizes["steps"],
        candidates=sizes["candidates"],
        probes=sizes["probes"],
        held_out=sizes["held_out"],
        seed=seed,
    )


def search_plan(objective: str, length: int, finding: FindingBuilder) -> SearchPlan:
    """How much these searches do."""
    if "payload" not in objective:  # which reads all of the payload's tokens
        finding.reads(FIRST_TOKEN)
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
