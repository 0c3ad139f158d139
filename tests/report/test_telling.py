from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dormant.claims.finding import Finding, Rule, Verdict
from dormant.report.telling import does_it_tell
from tests.report.samples import TWINS, finding

ZOO = ("circuit", "circuit-plain", "pi", "pi-plain")
RULE = Rule("at least", 4.0, "ratio", "")


def decided(pair: str, value: float, rule: Rule = RULE, spread: float = 0.0) -> Finding:
    """A finding whose verdict follows from its value."""
    verdict = Verdict.SUPPORTED if rule.holds(value) else Verdict.REFUTED
    return finding(pair, value, verdict, spread=spread, rule=rule)


def test_a_claim_tells_where_it_holds_on_the_organism_and_not_on_its_twin() -> None:
    telling = does_it_tell([decided(pair, value) for pair, value in zip(ZOO, (9, 2, 3, 2), strict=True)], TWINS)
    assert str(telling) == "1 of 2"
    assert telling.detail == "1 of 2 (AUROC 1.00, 2 + 2)"


def test_two_figures_on_one_side_of_the_threshold_tell_nothing() -> None:
    telling = does_it_tell([decided(pair, value) for pair, value in zip(ZOO, (9, 8, 3, 2), strict=True)], TWINS)
    assert str(telling) == "0 of 2"


def test_overlapping_intervals_tell_nothing() -> None:
    findings = [decided(pair, value, spread=1.0) for pair, value in zip(ZOO, (4.5, 3.5, 9, 2), strict=True)]
    assert str(does_it_tell(findings, TWINS)) == "1 of 2"


def test_a_rule_of_at_most_turns_the_direction_around() -> None:
    rule = Rule("at most", 0.1, "share", "")
    findings = [decided(pair, value, rule) for pair, value in zip(ZOO, (0.0, 0.5, 0.9, 0.5), strict=True)]
    telling = does_it_tell(findings, TWINS)
    assert str(telling) == "1 of 2"
    assert telling.auroc == 0.5


def test_nothing_is_told_without_a_twin_or_where_a_premise_failed() -> None:
    assert str(does_it_tell([finding("circuit", 9.0)], TWINS)) == "-"
    invalid = [finding("circuit", 9.0, Verdict.INVALID), finding("circuit-plain", 1.0)]
    assert str(does_it_tell(invalid, TWINS)) == "-"


@given(st.lists(st.integers(-3, 3), min_size=4, max_size=4))
def test_swapping_organisms_and_twins_mirrors_the_auroc(values: list[int]) -> None:
    findings = [finding(pair, value) for pair, value in zip(ZOO, values, strict=True)]
    there = does_it_tell(findings, TWINS)
    back = does_it_tell(findings, {twin: organism for organism, twin in TWINS.items()})
    assert there.auroc is not None
    assert back.auroc is not None
    assert there.auroc + back.auroc == 1
    assert there.separated + back.separated <= 2
