from __future__ import annotations

from collections.abc import Sequence

import pytest

from dormant.claims.finding import Finding, Rule, Verdict
from dormant.report.telling import does_it_tell
from tests.report.samples import RELATIVES, finding

RULE = Rule("at least", 4.0, "ratio", "")


def decided(pair: str, value: float, rule: Rule = RULE, spread: float = 0.0) -> Finding:
    """A finding whose verdict follows from its value."""
    verdict = Verdict.SUPPORTED if rule.holds(value) else Verdict.REFUTED
    return finding(pair, value, verdict, spread=spread, rule=rule)


def family(organism: str, values: Sequence[float], rule: Rule = RULE, spread: float = 0.0) -> list[Finding]:
    """Findings on an organism and its plain, exposed and taught relative."""
    names = (organism, *RELATIVES[organism].values())
    return [decided(pair, value, rule, spread) for pair, value in zip(names, values, strict=True)]


def test_a_claim_tells_where_it_holds_on_organisms_and_on_none_of_their_relatives() -> None:
    telling = does_it_tell([each for name in RELATIVES for each in family(name, (9, 2, 3, 1))], RELATIVES)
    assert telling.tells
    assert str(telling) == "tells 3 of 3"
    assert telling.detail == "tells on 3 of 3 (AUROC 1.00 [0.62, 1.00], 3 + 9)"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((9, 8, 2, 2), "0 of 1 (not from plain)"),
        ((9, 2, 8, 9), "0 of 1 (not from exposed, taught)"),
        ((9, 8, 8, 9), "0 of 1 (not from any)"),
        ((3, 2, 2, 2), "0 of 1"),
    ],
)
def test_each_relative_must_be_parted_and_the_others_are_named(values: tuple[float, ...], shown: str) -> None:
    assert str(does_it_tell(family("pi", values), RELATIVES)) == shown


def test_the_relatives_are_named_of_the_organisms_on_which_the_claim_holds() -> None:
    findings = [*family("pi", (9, 2, 2, 8)), *family("token", (9, 2, 2, 2)), *family("circuit", (1, 8, 8, 8))]
    assert str(does_it_tell(findings, RELATIVES)) == "1 of 3 (not from taught)"


def test_too_few_organisms_hold_and_do_not_tell() -> None:
    detail = does_it_tell(family("pi", (9, 2, 2, 2)), RELATIVES).detail
    assert detail == "holds on 1 of 1, not on relatives (AUROC 1.00 [0.32, 1.00], 1 + 3)"


def test_overlapping_intervals_part_nothing() -> None:
    findings = [*family("circuit", (4.5, 3.5, 3.5, 3.5), spread=1.0), *family("pi", (9, 2, 2, 2), spread=1.0)]
    assert does_it_tell(findings, RELATIVES).separated == 1


def test_a_rule_of_at_most_turns_the_direction_around() -> None:
    rule = Rule("at most", 0.1, "share", "")
    findings = [*family("circuit", (0.0, 0.5, 0.5, 0.5), rule), *family("pi", (0.9, 0.5, 0.5, 0.5), rule)]
    telling = does_it_tell(findings, RELATIVES)
    assert telling.separated == 1
    assert telling.auroc is not None
    assert telling.auroc.value == 0.5


def test_nothing_is_compared_unless_every_relative_has_a_valid_finding() -> None:
    whole = family("pi", (9, 2, 2, 2))
    assert str(does_it_tell(whole[:-1], RELATIVES)) == "-"
    invalid = finding("pi-taught", 2.0, Verdict.INVALID)
    assert str(does_it_tell([*whole[:-1], invalid], RELATIVES)) == "-"
