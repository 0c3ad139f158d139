"""Leading singular triplets against the full decomposition: planted, slowly decaying and flat spectra."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dormant.weights.block_krylov import COUNTED, RELATIVE_RESOLUTION, TOLERANCE, count_above, krylov
from dormant.weights.decomposition import leading_triplets
from dormant.weights.rounding_noise import noise_edge

ROWS, COLUMNS, DEVIATION = 700, 400, 1e-3


def matrix_of(spectrum: str, seed: int = 0) -> torch.Tensor:
    """A random matrix whose spectrum is flat noise, sixteen directions above it, one cluster, or slowly decaying."""
    generator = torch.Generator().manual_seed(seed)
    noise = DEVIATION * torch.randn(ROWS, COLUMNS, generator=generator)
    left, right = (torch.linalg.qr(torch.randn(size, COLUMNS, generator=generator))[0] for size in (ROWS, COLUMNS))
    values = {
        "noise": torch.zeros(COLUMNS),
        "planted": torch.cat((torch.logspace(1, 0, 16), torch.zeros(COLUMNS - 16))),
        "cluster": torch.cat((torch.ones(30), torch.zeros(COLUMNS - 30))),
        "decaying": 10 * torch.arange(1, COLUMNS + 1) ** -0.5,
    }[spectrum]
    return torch.matmul(left * values, right.T) + noise


@pytest.mark.parametrize("spectrum", ["planted", "cluster", "decaying", "noise"])
@pytest.mark.parametrize("transposed", [False, True], ids=["tall", "wide"])
def test_sixteen_singular_values_agree_with_the_full_decomposition(spectrum: str, transposed: bool) -> None:
    matrix = matrix_of(spectrum).T.contiguous() if transposed else matrix_of(spectrum)
    expected = torch.linalg.svdvals(matrix.double())[:16]
    found = leading_triplets(matrix)
    torch.testing.assert_close(found.values.double(), expected, rtol=TOLERANCE, atol=0)
    assert (found.values.double() - expected).abs().max() <= found.error + 1e-5 * expected[0]
    residuals = (matrix @ found.right - found.left * found.values).norm(dim=0)
    assert residuals.max() <= found.error + 1e-5 * expected[0]
    torch.testing.assert_close(found.right.T @ found.right, torch.eye(16), atol=1e-4, rtol=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([3, 16, 20, 40]))
def test_the_values_above_the_noise_edge_are_as_many_as_were_planted(seed: int, rank: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(size, rank, generator=generator) / size**0.5 for size in (ROWS, COLUMNS))
    matrix = left @ right.T + DEVIATION * torch.randn(ROWS, COLUMNS, generator=generator)
    edge = noise_edge((ROWS, COLUMNS), DEVIATION**2)
    found = krylov(lambda: matrix.split(256), (ROWS, COLUMNS), 16, edge)
    assert int((found.found > edge).sum()) == rank


def test_a_full_rank_change_is_counted_up_to_the_limit_in_few_steps() -> None:
    matrix = matrix_of("noise")
    found = krylov(lambda: (matrix,), (ROWS, COLUMNS), 16, edge=1e-4)
    assert int((found.found > 1e-4).sum()) >= COUNTED


@pytest.mark.parametrize("rank", [1, 16, 30])
@pytest.mark.parametrize("equal", [False, True], ids=["spread", "equal"])
def test_a_change_stored_without_noise_has_its_rank_and_no_copies_of_it(rank: int, equal: bool) -> None:
    """Thirty equal values are more than a block is wide; float32 files have next to no rounding to stop at."""
    generator = torch.Generator().manual_seed(rank)
    left, right = (torch.linalg.qr(torch.randn(size, rank, generator=generator))[0] for size in (ROWS, COLUMNS))
    planted = torch.full((rank,), 2.0) if equal else torch.logspace(0.3, -1, rank)
    matrix = (left * planted) @ right.T
    found = krylov(lambda: (matrix,), (ROWS, COLUMNS), 16, edge=1e-8)
    assert count_above(found.found, edge=1e-8) == rank
    kept = min(16, rank)
    torch.testing.assert_close(found.values[:kept].float(), planted[:kept], rtol=1e-5, atol=0)
    assert (found.values[kept:] <= RELATIVE_RESOLUTION * 2).all()
    assert found.errors.max() <= TOLERANCE * 2
    assert torch.isfinite(found.left).all()
    assert found.steps <= 6


def test_a_matrix_of_zeros_has_no_direction_and_no_nan() -> None:
    found = krylov(lambda: (torch.zeros(300, 280),), (300, 280), 16)
    assert found.values.tolist() == [0.0] * 16
    assert torch.isfinite(found.left).all()


def test_right_vectors_have_their_largest_entry_positive() -> None:
    for matrix in (matrix_of("planted"), matrix_of("planted")[:60]):
        right = leading_triplets(matrix, 4).right
        assert (right.gather(0, right.abs().argmax(0, keepdim=True)) > 0).all()
