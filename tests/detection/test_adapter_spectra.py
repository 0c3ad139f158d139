from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.detection.adapter_spectra import EVERY_MATRIX, SPECTRAL, Spectra, spectra_of, spectral_outlier
from dormant.errors import BadInput, NotServed
from dormant.pairs import Pair, open_pair
from dormant.weights.delta_report import DeltaReport, TensorDelta
from tests.builders import add_delta, copy_checkpoint


def report_of(**values: tuple[float, ...]) -> DeltaReport:
    """A report with one matrix of 4 x 4 a name, of these singular values."""
    tensors = {
        name: TensorDelta(name, (4, 4), False, 1.0, None, None, sum(v**2 for v in row), row)
        for name, row in values.items()
    }
    return DeltaReport("base", "dormant", "made", tensors)


def named(layer: int, module: str = "mlp.up_proj") -> str:
    return f"model.layers.{layer}.{module}.weight"


def test_the_statistics_are_those_computed_by_hand() -> None:
    found = spectra_of(report_of(**{named(0): (2.0, 1.0, 1.0, 0.0)}))
    assert set(found) == {"up_proj", EVERY_MATRIX}
    assert found["up_proj"] == found[EVERY_MATRIX]
    expected = dict(
        zip(SPECTRAL, (np.log(2), np.log(6) / 2, 4 / 6, -(0.5 * np.log(0.5) + 0.5 * np.log(0.25)), -1.0), strict=True)
    )
    assert dict(zip(SPECTRAL, found["up_proj"], strict=True)) == pytest.approx(expected)


def test_layers_are_averaged_by_kind_and_all_matrices_together() -> None:
    found = spectra_of(
        report_of(
            **{named(0): (1.0, 1.0, 1.0, 1.0), named(1): (4.0, 0, 0, 0), named(1, "mlp.down_proj"): (1.0, 0, 0, 0)}
        )
    )
    assert found["up_proj"][2] == pytest.approx((1 / 4 + 1) / 2)
    assert found[EVERY_MATRIX][2] == pytest.approx((1 / 4 + 1 + 1) / 3)


@given(st.floats(0.1, 10.0))
def test_a_larger_delta_of_the_same_shape_changes_sizes_alone(scale: float) -> None:
    one, other = (
        spectra_of(report_of(**{named(0): tuple(scale_ * v for v in (3.0, 2.0, 1.0, 0.5))})) for scale_ in (1.0, scale)
    )
    ours, theirs = np.array(one["up_proj"]), np.array(other["up_proj"])
    np.testing.assert_allclose(theirs - ours, [np.log(scale), np.log(scale), 0, 0, 0], atol=1e-9)


@pytest.fixture(scope="module")
def bank(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Spectra]:
    folder, found = tmp_path_factory.mktemp("bank"), list[Spectra]()
    for seed in range(2, 8):
        dormant = copy_checkpoint(tiny_base, folder / str(seed), partial(add_delta, seed=seed))
        found.append(spectra_of(open_pair(str(seed), tiny_base, dormant, device="cpu").delta_report))
    return found


def test_a_delta_with_one_planted_direction_lies_further_out_than_one_like_the_bank(
    tiny_base: Path, tiny_pair: Pair, bank: list[Spectra], tmp_path: Path
) -> None:
    def plant(tensors: dict[str, torch.Tensor]) -> None:
        add_delta(tensors)
        for layer in (0, 1):
            tensors[f"model.layers.{layer}.mlp.down_proj.weight"] += 0.1

    planted = open_pair("planted", tiny_base, copy_checkpoint(tiny_base, tmp_path / "planted", plant), device="cpu")
    far, near = spectral_outlier(planted, bank).estimate, spectral_outlier(tiny_pair, bank).estimate
    assert far.value > 4 * near.value
    assert near.value < 2


def test_two_equal_models_have_the_null_figure(tiny_base: Path, bank: list[Spectra]) -> None:
    pair = open_pair("sham", tiny_base, tiny_base, device="cpu")
    assert spectra_of(pair.delta_report) == {}
    assert spectral_outlier(pair, bank).estimate.value == 0.0


def test_a_kind_that_few_of_the_bank_changed_counts_in_all_matrices_together_alone(tiny_pair: Pair) -> None:
    own = spectra_of(tiny_pair.delta_report)
    everything = {EVERY_MATRIX: own[EVERY_MATRIX]}
    other = {EVERY_MATRIX: tuple(value + 1 for value in own[EVERY_MATRIX])}
    few = [everything, other, everything, other, {**other, "up_proj": (0.0,) * 5}]
    assert spectral_outlier(tiny_pair, few).estimate == spectral_outlier(tiny_pair, [*few[:4], other]).estimate


def test_a_further_member_of_the_bank_lies_at_its_own_distance(tiny_pair: Pair) -> None:
    """Of -1, 0 and 1 the standard deviation is 1, that of a further one the root of 4/3."""
    own = spectra_of(tiny_pair.delta_report)[EVERY_MATRIX]
    members = [{EVERY_MATRIX: tuple(value + 2 + shift for value in own)} for shift in (-1, 0, 1)]
    found = spectral_outlier(tiny_pair, members).estimate
    assert found.value == pytest.approx(2 / np.sqrt(4 / 3))
    # without -1 it is 2.5 / sqrt(3 / 4), without 0 it is 2 / sqrt(3), without 1 it is 1.5 / sqrt(3 / 4)
    assert found.high - found.value == pytest.approx(4.30265 * np.sqrt(2 / 3 * (4 / 3 + 1 / 3)), rel=1e-4)


def test_next_to_no_bank_is_refused(tiny_pair: Pair, bank: list[Spectra]) -> None:
    with pytest.raises(BadInput, match="needs three clean fine-tunes to lie outside of; got 2"):
        spectral_outlier(tiny_pair, [*bank[:2], {}])


def test_a_delta_without_a_changed_matrix_in_a_layer_is_refused(
    tiny_base: Path, bank: list[Spectra], tmp_path: Path
) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"] += 1

    pair = open_pair("words", tiny_base, copy_checkpoint(tiny_base, tmp_path / "words", change), device="cpu")
    with pytest.raises(NotServed, match="none among 1 changed tensors at pair 'words'"):
        spectral_outlier(pair, bank)
