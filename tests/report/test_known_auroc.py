from __future__ import annotations

from pathlib import Path

from dormant.records import from_json, read_json
from dormant.report.grid import grid_rows, grid_text
from dormant.report.known_auroc import KNOWN_AUROCS, known_aurocs, known_record
from dormant.report.telling_table import TellingTable
from tests.report.samples import RELATIVES, finding

RECORD = Path(__file__).parents[2] / "reports" / "telling" / "telling.json"


def test_the_shipped_aurocs_are_those_of_the_committed_table() -> None:
    table = from_json(TellingTable, read_json(RECORD), RECORD)
    assert known_record(table) == read_json(KNOWN_AUROCS) == read_json(RECORD.with_name("known_auroc.json"))


def test_the_grid_ends_with_the_auroc_of_a_claim_that_the_table_has() -> None:
    findings = [finding("mine", 1.0, claim="target-inversion", parameters={}), finding("mine", 1.0, claim="unheard-of")]
    known, unknown = grid_rows(findings, RELATIVES)
    assert (known.known, unknown.known) == (known_aurocs().by_key["target-inversion"], None)
    lines = grid_text(findings, RELATIVES).splitlines()
    assert lines[1].split()[-2:] == ["of", str(known_aurocs().models)]
    assert any(line.endswith(f" {known.known.value:.2g}".replace("0.", ".")) for line in lines if known.known)
