from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.strings import deletions, exchanges, insertions, swaps

IDS = st.lists(st.integers(0, 9), min_size=1, max_size=6).map(tuple)


@given(IDS)
def test_moves_change_one_unit_or_exchange_two(ids: tuple[int, ...]) -> None:
    assert all(ids in set(deletions(longer)) for longer in insertions(ids, [3, 4]))
    assert all(sum(a != b for a, b in zip(ids, other, strict=True)) <= 1 for other in swaps(ids, [3, 4]))
    assert all(sorted(other) == sorted(ids) and other != ids for other in exchanges(ids))
    assert () not in set(deletions(ids))
