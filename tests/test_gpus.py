from __future__ import annotations

import os

import pytest

from dormant.gpus import VISIBLE, take_gpu, visible_gpus


@pytest.mark.parametrize(
    ("listed", "visible"),
    [("3,5", ("3", "5")), ("GPU-a, MIG-b", ("GPU-a", "MIG-b")), ("", ()), ("-1", ()), ("2,-1,3", ("2",))],
)
def test_the_gpus_are_those_that_cuda_would_see(
    listed: str, visible: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, listed)
    assert visible_gpus() == visible


def test_a_process_takes_one_of_the_gpus_that_it_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "4,6")
    take_gpu(3)
    assert os.environ[VISIBLE] == "6"
    monkeypatch.setenv(VISIBLE, "")
    take_gpu(1)
    assert os.environ[VISIBLE] == ""
