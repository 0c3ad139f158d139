from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.checkpoints.tensor_names import is_embedding
from dormant.weights.concentration import comparable_directions, concentration, energy_shares, noise_energy_share
from dormant.weights.published import published_report

shares = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=12)


@pytest.mark.parametrize(("versus", "expected"), [("median", 15.9), ("any", 3.26)])
def test_the_published_sixteenfold_is_against_the_median_and_threefold_against_any(
    versus: str, expected: float
) -> None:
    report = published_report("warmup-vs-qwen2")
    found = energy_shares(report.every_layer("q_proj"), comparable_directions(report))
    assert concentration(found, versus, 0.01).value == pytest.approx(expected, rel=0.01)


def test_against_the_true_parent_no_query_matrix_has_any_delta() -> None:
    report = published_report("warmup-vs-qwen2.5")
    found = energy_shares(report.every_layer("q_proj"), comparable_directions(report))
    assert concentration(found, "median", 0.01).value == 0.0


def test_sixteen_directions_of_the_real_model_are_comparable_to_sixteen() -> None:
    assert comparable_directions(published_report("warmup-vs-qwen2")) == 16


def test_a_narrow_embedding_does_not_change_how_many_directions_are_compared() -> None:
    report = published_report("warmup-vs-qwen2")
    tensors = {
        name: replace(delta, shape=(*delta.shape[:-1], 512)) if is_embedding(name) else delta
        for name, delta in report.tensors.items()
    }
    assert comparable_directions(replace(report, tensors=tensors)) == 16


@given(shares=shares)
def test_layer_0_is_never_more_concentrated_against_any_than_against_the_median(shares: list[float]) -> None:
    against_any, against_median = (concentration(shares, versus, 0.001) for versus in ("any", "median"))
    assert against_any.value <= against_median.value * (1 + 1e-9)
    assert against_median.low <= against_median.value <= against_median.high


@given(shares=shares, scale=st.floats(0.1, 1.0))
def test_the_ratio_does_not_depend_on_the_scale_of_the_shares(shares: list[float], scale: float) -> None:
    scaled = [share * scale for share in shares]
    assert concentration(scaled, "any", 0.001).value == pytest.approx(concentration(shares, "any", 0.001).value)


def test_an_unchanged_layer_counts_as_isotropic() -> None:
    assert concentration([0.5, 0.0, 0.0], "any", 0.05).value == pytest.approx(10.0)


@pytest.mark.parametrize(("shape", "directions"), [((128, 128), 1), ((64, 128), 1), ((320, 128), 4)])
def test_the_noise_share_is_that_of_random_matrices(shape: tuple[int, int], directions: int) -> None:
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(10):
        squared = np.linalg.svd(random.standard_normal(shape), compute_uv=False) ** 2
        drawn.append(squared[:directions].sum() / squared.sum())
    assert noise_energy_share(shape, directions) == pytest.approx(np.mean(drawn), rel=0.05)
