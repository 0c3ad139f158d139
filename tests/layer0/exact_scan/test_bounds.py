"""What products are said not to exceed, against the products."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.layer0.exact_scan.bounds import Reach
from dormant.layer0.rope import turn_

VECTORS = st.tuples(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1e-4, 1.0, 30.0]))


def vectors(seed: int, planes: int, scale: float) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Queries and three groups of keys; `scale` is how large the models' difference is beside the base."""
    generator = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, 12, 4 * planes, generator=generator)
    queries[:, : 2 * planes] *= scale
    keys[:, 2 * planes :] *= scale
    return queries, keys.split(5)


def products(queries: torch.Tensor, groups: tuple[torch.Tensor, ...], factors: torch.Tensor) -> torch.Tensor:
    """The largest |product| of every group and query at an offset: [group, row]."""
    turned = turn_(queries.clone(), factors)
    return torch.stack([(turned @ keys.T).abs().amax(1) for keys in groups])


@given(VECTORS, st.integers(0, 40))
def test_no_product_passes_what_its_vectors_lengths_allow(drawn: tuple[int, int, float], offset: int) -> None:
    queries, groups = vectors(*drawn)
    factors = torch.polar(torch.full((drawn[1],), 1.3), torch.linspace(1.0, 0.01, drawn[1]) * offset)
    assert (products(queries, groups, factors) <= Reach(queries, groups, 1.3).by_length).all()


@given(VECTORS, st.integers(0, 40), st.integers(0, 40))
def test_no_product_changes_by_more_than_turning_allows(drawn: tuple[int, int, float], here: int, there: int) -> None:
    queries, groups = vectors(*drawn)
    angles = torch.linspace(1.0, 0.01, drawn[1])
    factors = [torch.polar(torch.ones_like(angles), angles * offset) for offset in (here, there)]
    before, after = (products(queries, groups, each) for each in factors)
    allowed = Reach(queries, groups, 1.0).by_turning((factors[1] - factors[0]).abs()[None])[0]
    slack = 1e-5 * Reach(queries, groups, 1.0).by_length  # what float32 rounds of both products
    assert ((after - before).abs() <= allowed + slack).all()
