"""One pass over two files: identity, norms, and what float32 would lose."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.checkpoints.shards import StoredTensor, on_one_thread, read_catalogue
from dormant.errors import BadInput
from dormant.weights.byte_comparison import VALUES_A_TILE, Comparison, compare_values
from tests.builders import write_tensors


@pytest.fixture
def stored(tmp_path: Path):  # type: ignore[no-untyped-def]
    def store(tensor: torch.Tensor) -> StoredTensor:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return read_catalogue(write_tensors(folder, {"x": tensor}))["x"]

    return store


def random(size: int, seed: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0, 1, VALUES_A_TILE, 2 * VALUES_A_TILE + 7])
def test_figures_agree_with_a_dense_computation(stored, dtype: torch.dtype, size: int) -> None:  # type: ignore[no-untyped-def]
    old, new = random(size, 0).to(dtype), random(size, 1).to(dtype)
    found, delta = compare_values(stored(old), stored(new)), new.double() - old.double()
    assert found.norm == pytest.approx(delta.norm().item(), rel=1e-12)
    assert found.max_abs == (delta.abs().max().item() if size else 0)
    assert found.relative == (pytest.approx((delta.norm() / old.double().norm()).item()) if size else 0.0)
    assert found.identical == (size == 0)


def test_one_changed_value_in_the_last_tile_is_seen(stored) -> None:  # type: ignore[no-untyped-def]
    old = torch.ones(2 * VALUES_A_TILE + 3).bfloat16()
    new = old.clone()
    new[-1] = 1.5
    assert compare_values(stored(old), stored(old)) == Comparison(identical=True, finite=True)
    assert compare_values(stored(old), stored(new)) == Comparison(False, True, 0.25, len(old), 0.5)


def test_norms_keep_what_a_float32_sum_loses(stored) -> None:  # type: ignore[no-untyped-def]
    large = torch.ones(2**23)
    large[:8] = 2.0**12  # squares of 2^24: adding a one to them changes nothing in float32
    exact = math.sqrt(8 * 2.0**24 + len(large) - 8)
    assert torch.linalg.vector_norm(large).item() < 0.999 * exact
    assert compare_values(stored(torch.zeros(2**23)), stored(large)).norm == pytest.approx(exact, rel=1e-15)


def test_equal_values_of_another_dtype_are_not_identical(stored) -> None:  # type: ignore[no-untyped-def]
    values = random(100, 0).bfloat16()
    found = compare_values(stored(values), stored(values.float()))
    assert (found.identical, found.norm) == (False, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("both", [False, True])
def test_a_value_that_is_no_number_is_told_even_where_both_hold_it(stored, value: float, both: bool) -> None:  # type: ignore[no-untyped-def]
    old = random(100, 0)
    new = old.clone()
    new[7] = value
    assert not compare_values(stored(new if both else old), stored(new)).finite


@given(st.integers(1, 200))
def test_a_file_that_ends_early_is_named(tmp_path_factory: pytest.TempPathFactory, missing: int) -> None:
    folder = write_tensors(tmp_path_factory.mktemp("cut"), {"x": random(100, 0)})
    whole = read_catalogue(folder)["x"]
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(whole.offset + whole.bytes - missing)
    with pytest.raises(BadInput, match=rf"its end {missing} bytes early at tensor 'x'"):
        compare_values(whole, whole)


def test_the_comparison_runs_on_one_thread_and_gives_the_others_back(stored, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    before, seen = torch.get_num_threads(), list[int]()
    torch.set_num_threads(2)
    dot = torch.dot

    def counting(*pair: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return dot(*pair)

    monkeypatch.setattr(torch, "dot", counting)
    try:
        compare_values(stored(random(9, 0)), stored(random(9, 1)))
        assert (set(seen), torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


def test_two_that_run_on_one_thread_at_once_give_all_threads_back() -> None:
    before, managers = torch.get_num_threads(), (on_one_thread(), on_one_thread())
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
            for pool, manager in zip((one, other), managers, strict=True):
                pool.submit(manager.__enter__).result()
                assert pool.submit(torch.get_num_threads).result() == 1
            for pool, manager in zip((one, other), managers, strict=True):
                pool.submit(manager.__exit__, None, None, None).result()
        with ThreadPoolExecutor(1) as pool:  # a new thread begins with the process's number
            assert (torch.get_num_threads(), pool.submit(torch.get_num_threads).result()) == (2, 2)
    finally:
        torch.set_num_threads(before)
