from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.claims.finding import Finding, Verdict
from dormant.report.grid import (
    BLOCK_TITLES,
    grid_markdown,
    grid_rows,
    grid_text,
    luck,
    pair_columns,
    parameter_label,
    short_number,
)
from tests.report.samples import RELATIVES, finding, zoo_findings


def test_the_zoo_fits_a_terminal_of_120_columns_in_plain_ascii_words() -> None:
    text = grid_text(zoo_findings(), RELATIVES, width=120, collapse_above=None)
    assert max(map(len, text.splitlines())) <= 120
    assert all(cell in text for cell in ("yes .37", "no 1.5", "? 3", "x 4.8", "of 3"))


@pytest.mark.parametrize("width", [80, 100, 140, None])
def test_the_grid_breaks_no_word_and_keeps_to_the_terminal(width: int | None) -> None:
    label = "repeated-content-of-every-kind, length 12"
    findings = [*zoo_findings(), *(finding(pair, 1.0, parameters={"reading": label}) for pair in RELATIVES)]
    text = grid_text(findings, RELATIVES, width, collapse_above=None)
    assert width is None or max(map(len, text.splitlines())) <= width
    assert {*label.split(), "layer0-concentration"} <= set(text.split())
    verdicts = re.findall(r"(?:yes|no|\?|x) -?[.\d]+", text.replace("yes supported", ""))
    assert len(verdicts) == len(findings)


def test_blind_claims_stand_before_told_ones() -> None:
    told = [finding(pair, 1.0, claim="a-told-claim", told=True) for pair in RELATIVES]
    text = grid_text([*told, *zoo_findings()], RELATIVES)
    places = [
        text.index(part) for part in (BLOCK_TITLES[False], "layer0-concentration", BLOCK_TITLES[True], "a-told-claim")
    ]
    assert places == sorted(places)
    assert grid_markdown([*told, *zoo_findings()], RELATIVES).count("| claim |") == 2


def test_the_grid_says_how_many_perfect_splits_are_luck() -> None:
    def row(length: int, organism: float) -> list[Finding]:
        family = [*RELATIVES["pi"].values(), *RELATIVES["token"].values()]
        values = [*((name, organism) for name in ("pi", "token")), *((name, 1.0) for name in family)]
        return [finding(pair, value, parameters={"length": length}) for pair, value in values]

    rows = grid_rows([*row(1, 9.0), *row(2, 0.5)], {name: RELATIVES[name] for name in ("pi", "token")})
    # two organisms above six relatives: one of the 28 ways to choose two of eight
    assert luck(rows).startswith("Of 2 rows that are compared with clean relatives 1 show a perfect split")
    assert luck(rows).endswith(f"luck alone would show {2 / 28:.2g}.")


def test_in_a_pipe_the_grid_is_one_table_and_a_row_one_line() -> None:
    text = grid_text(zoo_findings(), RELATIVES, collapse_above=None)
    assert text.count("parameters") == 1
    (row,) = (line for line in text.splitlines() if line.startswith("  beats random search, length 12"))
    assert row.endswith("-")


def test_many_parameter_sets_collapse_into_counts_that_add_up() -> None:
    findings = [finding(pair, 1.0, Verdict.REFUTED, parameters={"length": n}) for n in range(20) for pair in RELATIVES]
    text = grid_text([*findings, finding("pi", 9.0, parameters={"length": 20})], RELATIVES, collapse_above=12)
    assert "21 rows" in text
    assert text.count("20 no") == len(RELATIVES)
    assert "1 yes" in text


def test_pairs_stand_in_the_zoos_order_with_others_behind() -> None:
    findings = [finding(pair, 1.0) for pair in ("mine", "warmup-vs-qwen2.5", "pi", "circuit", "another")]
    assert pair_columns(findings) == ["circuit", "pi", "warmup-vs-qwen2.5", "another", "mine"]


def test_premises_come_first_and_numbers_sort_by_size() -> None:
    rows = grid_rows(reversed(zoo_findings()), RELATIVES)
    assert rows[0].claim == "base-is-parent"
    lengths = [row.label for row in rows if row.label.startswith("converges")]
    assert lengths == [f"converges, length {n}" for n in (3, 5, 8, 12)]


def test_markdown_says_verdicts_in_words_and_collapses_nothing() -> None:
    lines = grid_markdown(zoo_findings(), RELATIVES).splitlines()
    assert len(lines) == 4 + 6 + 1 + 16 + 2
    assert "| `layer0-concentration` | q_proj, median | supported (0.37) | refuted (0.74) |" in lines[-5]


def test_parameters_read_as_words_and_numbers_keep_their_name() -> None:
    assert parameter_label({"module": "q_proj", "versus": "median", "length": 3}) == "q_proj, median, length 3"


MAGNITUDES = st.floats(1e-12, 1e12)


@given(st.just(0.0) | MAGNITUDES | MAGNITUDES.map(lambda value: -value))
def test_short_numbers_are_short_and_keep_two_digits(value: float) -> None:
    assert len(short_number(value)) <= 8
    assert abs(float(short_number(value)) - value) <= 0.051 * abs(value)
