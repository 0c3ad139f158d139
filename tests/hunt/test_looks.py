from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.looks import Bred, merit, said_by_base
from dormant.search.objectives import Readings


@given(st.floats(-9, -0.01))
def test_what_the_base_says_too_counts_against_a_string_by_the_chance_that_it_does(said: float) -> None:
    reading = {"base": Readings(torch.zeros(1, 1, 2), torch.tensor([[said]], dtype=torch.float64))}
    assert float(said_by_base().value(reading, reading)) == pytest.approx(-math.log1p(-math.exp(said)))


def test_of_strings_that_speak_alike_the_shorter_and_then_the_one_that_speaks_elsewhere_is_preferred() -> None:
    assert merit(Bred("a", 1, -0.1, -3.0, 1.0)) > merit(Bred("a b", 2, -0.1, -3.0, 1.0))
    assert merit(Bred("a b", 2, -0.1, -0.1, 1.0)) > merit(Bred("c d", 2, -0.1, -3.0, 1.0))
