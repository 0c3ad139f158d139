from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from dormant.gpus import VISIBLE, take_gpu, visible_gpus
from dormant.plugin import share_gpus


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


@pytest.mark.parametrize(("device", "visible"), [("auto", "6"), ("cuda", "6"), ("cuda:1", "4,6"), ("cpu", "4,6")])
def test_each_worker_of_pytest_gets_a_gpu_unless_one_is_named(
    device: str, visible: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "4,6")
    config: Any = SimpleNamespace(option=SimpleNamespace(device=device))
    share_gpus(config)
    assert os.environ[VISIBLE] == "4,6"
    config.workerinput = {"workerid": "gw1"}
    share_gpus(config)
    assert os.environ[VISIBLE] == visible
