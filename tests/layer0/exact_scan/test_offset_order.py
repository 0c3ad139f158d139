"""The order in which offsets are looked through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from dormant.layer0.exact_scan.offset_order import Neighbours


@dataclass(frozen=True)
class Shown:
    """What a look returns, as far as the order knows of it."""

    unit: tuple[int, int]
    formed: float


@given(st.lists(st.integers(0, 20), max_size=4), st.integers(1, 9), st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0]))
def test_every_unit_is_looked_at_once_and_beside_its_own_head(
    counts: list[int], size: int, radius: int, formed: float
) -> None:
    heads = [[(head, offset) for offset in range(count)] for head, count in enumerate(counts)]
    looked, neighbours = list[tuple[int, int]](), Neighbours(size, radius)

    def look(units: Sequence[tuple[int, int]], beside: Sequence[Shown | None]) -> list[Shown]:
        assert 0 < len(units) <= max(size, len(heads))
        for unit, other in zip(units, beside, strict=True):
            assert other is None or (other.unit in looked and other.unit[0] == unit[0])
        looked.extend(units)
        return [Shown(unit, formed) for unit in units]

    neighbours.walk(heads, look)  # type: ignore[arg-type]
    assert sorted(looked) == [unit for head in heads for unit in head]


def test_rows_grow_where_little_has_to_be_formed_and_shrink_where_much_has() -> None:
    row, radii = [[(0, offset) for offset in range(40)]], []
    for formed in (0.0, 0.3, 1.0):
        neighbours = Neighbours(100, 2)
        neighbours.walk(row, lambda units, _, formed=formed: [Shown(unit, formed) for unit in units])  # type: ignore[arg-type, misc]
        radii.append(neighbours.radius)
    few, some, many = radii
    assert few > some == 2 > many == 1
