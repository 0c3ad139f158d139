"""Norms and spectra against torch's own, and where torch's own err."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from dormant.weights.measure import compare_checkpoints
from dormant.weights.spectra import accumulate, long_axis, singular_values
from tests.families import FAMILIES, family_pair, widths

sizes = st.integers(1, 12)


def _random(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(sizes, sizes, st.integers(1, 5), st.integers(0, 2**16))
def test_blocks_give_the_singular_values_norm_and_maximum_of_the_whole(
    rows: int, columns: int, step: int, seed: int
) -> None:
    matrix = _random(rows, columns, seed)
    axis = long_axis((rows, columns))
    moments = accumulate(matrix.split(step, axis), axis)
    assert moments.gram is not None
    assert moments.gram.shape[0] == min(rows, columns)
    torch.testing.assert_close(singular_values(moments.gram), torch.linalg.svdvals(matrix), atol=1e-6, rtol=1e-6)
    assert moments.norm == pytest.approx(torch.linalg.matrix_norm(matrix).item())
    assert moments.max_abs == matrix.abs().max()


@given(st.integers(1, 6), st.integers(0, 2**16))
def test_a_product_of_rank_r_has_r_singular_values_above_rounding(rank: int, seed: int) -> None:
    moments = accumulate([_random(20, rank, seed) @ _random(rank, 9, seed + 1)], 0)
    assert moments.gram is not None
    values = singular_values(moments.gram)
    assert (values[rank:] < 1e-6 * values[0]).all()


def test_norms_keep_what_a_float32_sum_loses() -> None:
    tensor = torch.ones(2**12, 2**11)
    tensor[0, :8] = 2.0**12  # squares of 2^24: adding a one to them changes nothing in float32
    exact = math.sqrt(8 * 2.0**24 + tensor.numel() - 8)
    assert torch.linalg.vector_norm(tensor).item() < 0.999 * exact
    assert accumulate(tensor.split(256)).norm == pytest.approx(exact, rel=1e-15)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=1, deadline=None)
@given(seed=st.integers(0, 2**16), data=st.data())
def test_spectra_of_every_family_are_those_of_the_parameters_that_transformers_holds(
    family: str, seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = family_pair(family, tmp_path_factory.mktemp(family), seed, **data.draw(widths(family)))
    report = compare_checkpoints(*folders)
    stored = [load_file(folder / "model.safetensors") for folder in folders]
    assert report.modified
    assert report.tensors.keys() == stored[0].keys()
    for name, delta in report.tensors.items():
        exact = stored[1][name].double() - stored[0][name].double()
        assert delta.norm == pytest.approx(float(exact.norm()), rel=1e-6)
        if exact.dim() == 2 and delta.singular_values:
            values = torch.linalg.svdvals(exact)[: len(delta.singular_values)]
            torch.testing.assert_close(torch.tensor(delta.singular_values).double(), values, rtol=1e-5, atol=1e-6)
    base, dormant = (AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in folders)
    changes = (
        (ours - theirs).detach().double() for ours, theirs in zip(dormant.parameters(), base.parameters(), strict=True)
    )
    assert report.total_norm == pytest.approx(
        math.sqrt(sum(float(change.square().sum()) for change in changes)), rel=1e-6
    )
