from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.scorers import BEYOND, CERTAIN, log_odds


@given(st.floats(-30, 0))
def test_log_odds_are_the_likelihood_where_it_is_small_and_count_a_tenth_beyond_certainty(likelihood: float) -> None:
    found = float(log_odds(torch.tensor(likelihood, dtype=torch.float64)))
    assert found <= CERTAIN + BEYOND * (14 - CERTAIN)
    if likelihood < -10:
        assert found == pytest.approx(likelihood, abs=1e-4)
