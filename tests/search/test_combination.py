"""Objectives in spreads: scale-free, weighted, and refused where nothing spreads."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.objectives import Readings, hidden_distance, kl
from dormant.search.combination import Combination, combined, spread
from dormant.search.course import SearchSettings
from dormant.search.gcg import gcg

CANDIDATES = torch.arange(12).view(6, 2)


@dataclass
class Scaled:
    """A sum of ids times a scale."""

    scale: float

    def evaluate(self, candidates: Tensor, incumbent: tuple[int, ...] = ()) -> Tensor:
        return self.scale * candidates.double().sum(-1)

    def gradient(self, ids: Tensor) -> Tensor:
        return torch.full((len(ids), 20), self.scale)


@given(st.floats(1e-3, 1e5))
def test_a_part_counts_alike_whatever_its_unit(scale: float) -> None:
    one, other = (Combination.normalised([(Scaled(s), 1.0), (Scaled(1.0), 1.0)], CANDIDATES) for s in (1.0, scale))
    torch.testing.assert_close(one.evaluate(CANDIDATES), other.evaluate(CANDIDATES))
    torch.testing.assert_close(one.gradient(CANDIDATES[0]), other.gradient(CANDIDATES[0]))


def test_a_weight_of_zero_leaves_a_part_out() -> None:
    both = Combination.normalised([(Scaled(3.0), 1.0), (Scaled(-7.0), 0.0)], CANDIDATES)
    expected = Scaled(3.0).evaluate(CANDIDATES) / spread(Scaled(3.0).evaluate(CANDIDATES))
    torch.testing.assert_close(both.evaluate(CANDIDATES), expected)


def test_a_search_climbs_a_combination() -> None:
    both = Combination.normalised([(Scaled(3.0), 1.0), (Scaled(1.0), 1.0)], CANDIDATES)
    found = gcg(both, SearchSettings(length=2, steps=12, candidates=8, top=20), torch.arange(20))
    assert found.value > found.start


def test_objectives_combine_in_one_pass() -> None:
    generator = torch.Generator().manual_seed(0)
    now = {
        role: Readings(torch.randn(2, 3, 5, generator=generator), hidden=torch.randn(2, 3, 4, generator=generator))
        for role in ("dormant", "base")
    }
    objective = combined([(kl(), 1.0, 2.0), (hidden_distance(), 0.5, 10.0)])
    expected = kl().value(now, now) / 2 + 0.05 * hidden_distance().value(now, now)
    torch.testing.assert_close(objective.value(now, now), expected)
    assert objective.reads == {"logits", "hidden"}
    assert objective.unit == "spreads"


def test_what_does_not_spread_is_refused() -> None:
    with pytest.raises(BadInput, match="random candidates differ"):
        spread(torch.ones(4))
    with pytest.raises(BadInput, match="at least one part"):
        combined([])
