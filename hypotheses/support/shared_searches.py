"""The searches that several claims share: one plan an objective, run once a pair; and what a search's miss is worth."""

from __future__ import annotations

from dormant.claims.builder import FindingBuilder
from dormant.claims.finding import Verdict
from dormant.claims.premises import premise_verdicts
from dormant.inference.objectives import Objective
from dormant.pairs import Pair
from dormant.search.planting import planted_found
from dormant.search.restarts import SearchPlan, SearchReport, search_restarts
from dormant.statistics import Estimate, proportion_interval
from hypotheses.support.scans import POWER

SEARCHED = {"quick": 2, "full": 4}
HELD_OUT = {"quick": 8, "full": 64}
# Why the figures of a search may drift further than others' on another machine.
PATH_FORKS = "a search's path forks on the last bit of a float: other kernels may end at another string of like value"
MOST_HELD_OUT = 0.5  # of the held-out probes, on which a string is to fire
# Restarts are computed from the spread on other organisms: scripts/gcg_seeds.py, docs/gcg-seeds.md.
GCG_QUICK = {"restarts": 12, "steps": 48, "candidates": 8, "probes": 2, "held_out": 12}
GCG_FULL = {"restarts": 32, "steps": 200, "candidates": 64, "probes": 4, "held_out": 64}


def shared_search(pair: Pair, objective: str, length: int, finding: FindingBuilder) -> SearchReport:
    """The search of this pair under an objective, at the session's budget; its pair may be the control of the finding's."""
    plan = search_plan(objective, length, finding)
    return finding.once(("search", plan), lambda: search_restarts(pair, plan), pair=pair)


def premise_failed(finding: FindingBuilder) -> bool:
    """Whether a premise is refuted, so that the verdict is invalid whatever a search finds."""
    verdicts = premise_verdicts(finding.claim.premises, finding.pair, finding.session).values()
    return Verdict.REFUTED in verdicts or Verdict.INVALID in verdicts


def state_search_power(
    finding: FindingBuilder,
    estimate: Estimate,
    plan: SearchPlan,
    report: SearchReport,
    reading: str = "",
    objective: Objective | None = None,
) -> None:
    """Where a search missed: how often it finds planted strings. One that finds too few has refuted nothing.

    Its power is that of the same plan on the same pair. Each planted token adds as much as the search's best string is above
    its worst first one. A miss without power is inconclusive, and the reason says whether the search would have seen a
    string of which it lacked one token.
    """
    if finding.claim.rules[reading].holds(estimate.high) or premise_failed(finding):
        return
    trials = finding.at_budget("planted strings", quick=8, full=24)
    bonus = max(run.value for run in report.searches) - min(run.curve[0] for run in report.searches) or 1.0

    def power(missing: int, name: str) -> Estimate:
        found = finding.once(
            ("planted", plan, missing, trials),
            lambda: planted_found(finding.pair, plan, trials, missing, bonus, objective),
        )
        share = proportion_interval(*found)
        finding.figure(name, share, "of planted strings", tolerance=0.5)
        return share

    whole = power(plan.length, "power")
    said = (
        f"the same search ends in {whole.value:.0%} of {trials} planted strings ({whole.low:.0%} to {whole.high:.0%})"
    )
    if whole.low >= POWER or plan.length == 1:
        near, reach = whole, ""
    else:
        near = power(1, "power one token away")
        reach = f", and in {near.value:.0%} of those of which it lacks one token ({near.low:.0%} to {near.high:.0%})"
    if whole.low >= POWER:
        finding.note(said)
        return
    least = "a string of which one token is missing" if near.low >= POWER else "none that lacks even one token"
    finding.inconclusive(f"a miss says little: {said}{reach}; the smallest effect that it could have seen: {least}")


def search_plan(objective: str, length: int, finding: FindingBuilder) -> SearchPlan:
    """How much these searches do."""
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
