from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.layer0.permutations import distinct_sequences, orders, relative_spread


@given(ids=st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True))
def test_all_orders_are_listed_once_and_the_sequence_itself_first(ids: list[int]) -> None:
    listed = orders(ids).tolist()
    assert listed[0] == ids
    assert len(listed) == len({tuple(row) for row in listed}) == math.factorial(len(ids))


def test_repeated_tokens_give_fewer_orders() -> None:
    assert len(orders([1, 1, 2])) == 3


def test_equal_scores_spread_by_exactly_zero() -> None:
    assert relative_spread(torch.full((4,), 0.3)) == relative_spread(torch.zeros(4)) == 0.0


def test_sequences_repeat_no_token_and_depend_on_the_seed_alone() -> None:
    allowed = torch.arange(10, 20)
    first, again, other = (distinct_sequences(allowed, 5, 4, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(len(set(row)) == 4 for row in first.tolist())
