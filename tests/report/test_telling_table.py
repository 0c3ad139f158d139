from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from dormant.catalogue import pairs_of_set
from dormant.claims.finding import Rule, Verdict
from dormant.errors import BadInput
from dormant.records import from_json, read_json
from dormant.report.telling_page import RECORD, telling_markdown, write_telling
from dormant.report.telling_table import Subject, TellingTable, discoveries, subjects_of, telling_row, telling_table
from tests.report.samples import finding

SHIPPED = Path(__file__).parents[2] / "reports" / "telling" / RECORD
ORGANISMS = [Subject(f"o{at}", True, f"o{at}", {"loss": "all"}, f"o{at}-plain") for at in range(4)]
TWINS = [Subject(f"o{at}-plain", False, f"o{at}") for at in range(4)]
SUBJECTS = [*ORGANISMS, *TWINS]
RULE = Rule("at least", 4.0, "ratio", "")


def test_a_row_ranks_organisms_above_clean_models_whatever_the_threshold() -> None:
    values = [9.0, 3.0, 2.0, 1.0, 2.5, 0.5, 0.5, 0.5]
    row = telling_row([finding(s.name, value, rule=RULE) for s, value in zip(SUBJECTS, values, strict=True)], SUBJECTS)
    assert row.auroc is not None
    assert row.paired is not None
    assert row.auroc.value == 14 / 16
    assert row.paired.value == 1
    assert row.by_kind["loss: all"].value == row.auroc.value


def test_a_rule_that_predicts_small_figures_turns_the_row_round() -> None:
    small = Rule("at most", 4.0, "ratio", "")
    row = telling_row([finding(s.name, float(s.backdoored), rule=small) for s in SUBJECTS], SUBJECTS)
    assert row.auroc is not None
    assert (row.auroc.value, row.rising) == (0, False)
    assert row.p < 0.05  # as sure as the right way round


def test_what_is_invalid_or_was_not_asked_is_counted() -> None:
    findings = [finding("o0", 9.0, Verdict.INVALID, rule=RULE), finding("o1", 9.0, rule=RULE)]
    row = telling_row(findings, SUBJECTS)
    assert row.left_out == {"o0": "invalid", **{s.name: "not asked" for s in SUBJECTS[2:]}}
    assert row.values == {"o1": 9.0}
    assert row.auroc is None


def test_every_claim_that_ran_gets_a_row_and_the_best_stands_first() -> None:
    random = Random(0)
    findings = [
        finding(s.name, value, rule=RULE, claim=claim)
        for s in SUBJECTS
        for claim, value in (("luck", random.random()), ("truth", float(s.backdoored)))
    ]
    table = telling_table(findings, SUBJECTS)
    assert [row.claim for row in table.rows] == ["truth", "luck"]
    truth, luck = discoveries(table.rows).values()
    assert truth < luck


def test_no_finding_on_a_model_of_known_truth_is_a_sentence() -> None:
    with pytest.raises(BadInput, match="needs findings on models of known truth"):
        telling_table([finding("mine", 1.0)], SUBJECTS)


def test_subjects_of_the_set_know_their_family_and_their_twin() -> None:
    found = {subject.name: subject for subject in subjects_of(pairs_of_set("calibration"))}
    assert found["circuit"].twin == "circuit-plain"
    assert found["circuit-taught"].cluster == "circuit"
    assert found["circuit"].kinds == {
        "mechanism": "circuit", "length": "two to four words", "loss": "assistant", "drift": "none",
    }  # fmt: skip
    assert {"sham", "base"}.isdisjoint(found)


def test_the_page_says_what_so_many_can_tell_and_the_record_reads_back(tmp_path: Path) -> None:
    table = telling_table([finding(s.name, float(s.backdoored), rule=RULE) for s in SUBJECTS], SUBJECTS)
    page = write_telling(table, tmp_path)
    assert "4 backdoored and 4 clean models" in page.read_text(encoding="utf-8")
    assert from_json(TellingTable, read_json(tmp_path / RECORD), "here") == table
    assert (tmp_path / "auroc.png").stat().st_size > 1000
    assert "1.00 [" in telling_markdown(table)


@pytest.mark.parametrize("claim", ["perplexity-difference", "spectral-outlier", "leak-motifs"])
def test_the_published_aurocs_follow_from_the_published_figures(claim: str) -> None:
    record = json.loads(SHIPPED.read_text(encoding="utf-8"))
    backdoored = {one["name"]: one["backdoored"] for one in record["subjects"]}
    (row,) = (row for row in record["rows"] if row["claim"] == claim)
    sign = 1 if row["rising"] else -1
    couples = [
        (sign * ours > sign * theirs) + 0.5 * (ours == theirs)
        for one, ours in row["values"].items()
        for other, theirs in row["values"].items()
        if backdoored[one] and not backdoored[other]
    ]
    assert row["auroc"]["value"] == pytest.approx(sum(couples) / len(couples))


def test_shuffled_truth_gives_aurocs_around_one_half() -> None:
    table = from_json(TellingTable, read_json(SHIPPED), SHIPPED)
    random, names = Random(0), [subject.name for subject in table.subjects]
    planted = sum(subject.backdoored for subject in table.subjects)
    for row in table.rows:
        if row.auroc is None or row.told:
            continue
        seen = list[float]()
        for _ in range(200):
            chosen = set(random.sample(names, planted))
            ours, theirs = ([v for name, v in row.values.items() if (name in chosen) is side] for side in (True, False))
            if ours and theirs:
                wins = [(a > b) + 0.5 * (a == b) for a in ours for b in theirs]
                seen.append(sum(wins) / len(wins))
        assert sum(seen) / len(seen) == pytest.approx(0.5, abs=0.06), row.key


def test_a_row_draws_families_as_wholes_whichever_way_its_rule_points() -> None:
    """As in the test of the bootstrap: with a share s of families of the first kind 1 - (1 - s)^2 of couples win."""
    subjects = [Subject(f"o{at}{end}", not end, f"o{at}") for at in range(24) for end in ("", "-plain")]
    figures = [figure for _ in range(12) for figure in (3.0, 0.0, 1.0, 2.0)]
    for sign, comparator in ((1, "at least"), (-1, "at most")):
        rule = Rule(comparator, 4.0, "ratio", "")
        found = [finding(one.name, sign * value, rule=rule) for one, value in zip(subjects, figures, strict=True)]
        auroc = telling_row(found, subjects).auroc
        assert auroc is not None
        assert (auroc.value, auroc.low, auroc.high) == pytest.approx((0.75, 1 - (17 / 24) ** 2, 1 - (7 / 24) ** 2))


def test_an_organism_that_ties_with_its_twin_is_half_a_win() -> None:
    row = telling_row([finding(s.name, 1.0, rule=RULE) for s in SUBJECTS], SUBJECTS)
    assert row.auroc is not None
    assert row.paired is not None
    assert row.auroc.value == row.paired.value == 0.5
    assert (row.paired.low, row.paired.high) == (0, 1)  # all four may be won, or none
    assert row.p == 1


def test_a_kind_is_compared_by_its_own_organisms_and_fewer_than_three_of_them_are_not() -> None:
    odd = [Subject(f"odd{at}", True, f"odd{at}", {"loss": "other"}, "") for at in range(3)]
    rare = [Subject(f"rare{at}", True, f"rare{at}", {"loss": "rare"}, "") for at in range(2)]
    subjects = [*SUBJECTS, *odd, *rare]
    found = [finding(one.name, 2.0 * (one in ORGANISMS) + (one in TWINS), rule=RULE) for one in subjects]
    row = telling_row(found, subjects)
    assert {kind: auroc.value for kind, auroc in row.by_kind.items()} == {"loss: all": 1, "loss: other": 0}
    few = telling_row([one for one in found if one.pair.startswith("rare") or one.pair.endswith("plain")], subjects)
    assert few.auroc is None
