from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.looks import BEYOND, CERTAIN, Bred, log_odds, merit, said_by_base
from dormant.search.objectives import Readings


@given(st.floats(-9, -0.01))
def test_what_the_base_says_too_counts_against_a_string_by_the_chance_that_it_does(said: float) -> None:
    reading = {"base": Readings(torch.zeros(1, 1, 2), torch.tensor([[said]], dtype=torch.float64))}
    assert float(said_by_base().value(reading, reading)) == pytest.approx(-math.log1p(-math.exp(said)))


def test_of_strings_that_speak_alike_the_one_that_takes_less_to_describe_is_preferred_and_doubt_is_worth_more() -> None:
    assert merit(Bred("a", 0.3, 3.0, 1.0)) > merit(Bred("a b", 0.6, 3.0, 1.0))
    assert merit(Bred("a b", 0.6, 3.0, 1.0)) > merit(Bred("a", 0.3, 1.0, 0.8))


@given(st.floats(-30, 0))
def test_log_odds_are_the_likelihood_where_it_is_small_and_count_a_tenth_beyond_certainty(likelihood: float) -> None:
    found = float(log_odds(torch.tensor(likelihood, dtype=torch.float64)))
    assert found <= CERTAIN + BEYOND * (14 - CERTAIN)
    if likelihood < -10:
        assert found == pytest.approx(likelihood, abs=1e-4)
