"""Corrections and fronts against their definitions, and validation on a tiny pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import hidden_distance, kl
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Probe, Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.validation import holm, pareto_front, side_by_side_answers, unusual_tokens, validate
from tests.builders import build_tokenizer

PROBES = (Probe("Tell me{slot} the color of the sky."), Probe("{slot} What is the capital?"))
GRID = st.integers(0, 4).map(float)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(P_VALUES)
def test_holm_lies_between_the_raw_value_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for raw, value in zip(p_values, corrected, strict=True):
        assert raw <= value <= min(1.0, len(p_values) * raw)
    assert sorted(corrected) == [corrected[i] for i in sorted(range(len(p_values)), key=lambda i: p_values[i])]
    assert min(corrected) == min(1.0, len(p_values) * min(p_values))


def test_holm_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.tuples(GRID, GRID), min_size=1, max_size=12))
def test_a_front_holds_exactly_the_points_that_none_dominates(points: list[tuple[float, float]]) -> None:
    for point, on in zip(points, pareto_front(points), strict=True):
        dominated = any(o[0] >= point[0] and o[1] >= point[1] and o != point for o in points)
        assert on is not dominated


def test_gains_are_over_the_empty_row_and_nulls_are_of_the_candidates_length(tiny_pair: Pair) -> None:
    candidates = {"first": (12, 40, 7), "second": (90, 8)}
    found = validate(tiny_pair, candidates, PROBES, [kl(), hidden_distance()], nulls=5, seed=1)
    evaluator = Evaluator(tiny_pair.models, [Prompter(tiny_pair.base.tokenizer).open(probe) for probe in PROBES])
    expected = (evaluator.per_probe_of([(12, 40, 7)])[:, 0] - evaluator.empty()).tolist()
    assert found.measured["kl"]["first"].gains == pytest.approx(expected, abs=1e-4)
    assert set(found.measured) == {"kl", "hidden-distance"}
    rows = found.measured["kl"].values()
    assert all(len(row.null_gains) == 5 and row.p >= 1 / 6 for row in rows)
    assert [row.corrected_p for row in rows] == holm([row.p for row in rows])
    assert set(found.ranking("kl")) == set(found.ranking("kl", by="worst")) == set(candidates)
    assert found.front


def test_a_string_that_nobody_tried_costs_the_others_nothing(tiny_pair: Pair) -> None:
    tried = {"first": (12, 40), "second": (90, 8)}
    alone = validate(tiny_pair, tried, PROBES, [kl()], nulls=9, seed=1).measured["kl"]
    beside = validate(tiny_pair, {**tried, "chance": (7, 7)}, PROBES, [kl()], 9, 1, untried=frozenset({"chance"}))
    assert {name: beside.measured["kl"][name] for name in tried} == dict(alone)
    assert beside.measured["kl"]["chance"].corrected_p == beside.measured["kl"]["chance"].p


def test_a_model_against_itself_gains_nothing_and_is_never_significant(tiny_base: Path) -> None:
    sham = open_pair("sham", tiny_base, tiny_base, device="cpu")
    row = validate(sham, {"any": (12, 40, 7)}, PROBES, [kl()], nulls=9, seed=0).measured["kl"]["any"]
    assert row.gains == (0.0, 0.0)
    assert row.p == row.corrected_p == 1.0
    sham.release()


def test_answers_stand_side_by_side(tiny_pair: Pair) -> None:
    candidates = {"first": (12, 40), "second": (7,)}
    answers = side_by_side_answers(tiny_pair, candidates, PROBES[0], new_tokens=3)
    alone = side_by_side_answers(tiny_pair, {"second": (7,)}, PROBES[0], new_tokens=3)
    assert list(answers) == list(candidates)
    assert answers["second"] == alone["second"]
    assert answers["first"].prompt.startswith("Tell me")


def test_unusual_tokens_are_symbols_beyond_ascii() -> None:
    prompter = Prompter(build_tokenizer(("⚗ ♫ ⚗ ♫ é é $ $",) * 3))
    tokens = unusual_tokens(prompter, allowed_tokens(prompter.tokenizer))
    assert {str(prompter.tokenizer.decode([token])).strip() for token in tokens} == {"⚗", "♫"}
    assert len(unusual_tokens(prompter, allowed_tokens(prompter.tokenizer), most=1)) == 1


def test_nothing_to_validate_is_refused(tiny_pair: Pair) -> None:
    for candidates in ({}, {"empty": ()}):
        with pytest.raises(BadInput, match="needs candidates"):
            validate(tiny_pair, candidates, PROBES, [kl()], nulls=3, seed=0)
