from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.edits import deletions, exchanges

IDS = st.lists(st.integers(0, 9), min_size=1, max_size=6).map(tuple)


@given(IDS)
def test_edits_take_one_item_or_exchange_two(ids: tuple[int, ...]) -> None:
    assert all(ids in set(deletions((*ids[:at], 10, *ids[at:]))) for at in range(len(ids) + 1))
    assert all(sorted(other) == sorted(ids) and other != ids for other in exchanges(ids))
    assert () not in set(deletions(ids))
