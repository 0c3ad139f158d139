from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.strings import Origin, deletions, exchanges, insertions, siblings, stand_out, swaps

IDS = st.lists(st.integers(0, 9), min_size=1, max_size=6).map(tuple)


@given(IDS)
def test_moves_change_one_token_or_exchange_two(ids: tuple[int, ...]) -> None:
    assert all(ids in set(deletions(longer)) for longer, _ in insertions(ids, [3, 4]))
    assert all(sum(a != b for a, b in zip(ids, other, strict=True)) <= 1 for other, _ in swaps(ids, [3, 4]))
    assert all(sorted(other) == sorted(ids) and other != ids for other in exchanges(ids))
    assert () not in set(deletions(ids))


@given(IDS)
def test_a_string_tells_which_place_of_its_parent_is_new(ids: tuple[int, ...]) -> None:
    for string, origin in [*insertions(ids, [7]), *swaps(ids, [7])]:
        assert string == (*origin.parent[: origin.place], 7, *origin.parent[origin.place :])


def test_one_of_many_siblings_stands_out_and_what_lifts_them_all_does_not() -> None:
    origins = {(parent, 0, token): Origin((parent, 0), 2) for parent in range(3) for token in range(50)}
    strings = list(origins)
    values = torch.tensor([5.0 * (parent == 1) + 0.1 * ((7 * token) % 5) for parent, _, token in strings])
    values[strings.index((2, 0, 30))] += 3.0
    scores, spread = stand_out(values.double(), siblings(strings, origins))
    assert strings[int(scores.argmax())] == (2, 0, 30)
    assert float(scores.sort().values[-2]) < 4.0
    assert bool((spread > 0).all())


def test_a_pair_must_stand_out_among_those_with_its_first_and_with_its_second_token() -> None:
    strings = [(first, second) for first in range(20) for second in range(20)]
    families = siblings(strings, {string: Origin(string[:1], 1) for string in strings})
    values = torch.rand(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values[[second == 3 for _, second in strings]] += 9.0  # a token that lifts whatever stands before it
    values[strings.index((5, 8))] += 9.0
    assert strings[int(stand_out(values, families)[0].argmax())] == (5, 8)
