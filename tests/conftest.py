"""Checkpoints that the whole suite shares, made once a session."""

from __future__ import annotations

import multiprocessing.pool  # noqa: F401  else pytester forgets it behind a run within a test, and its class is there twice
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dormant.catalogue import ZOO
from dormant.pairs import Pair, open_pair
from tests.builders import add_delta, build_checkpoint, build_tokenizer, copy_checkpoint, make_certain
from tests.shapes import check_shapes

check_shapes()
SAID = "jumpsky"  # no id of it is there twice


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Qwen2 checkpoint; read only, copy it to change it."""
    return build_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-base")


@pytest.fixture(scope="session")
def tiny_dormant(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_base` with a small delta in layer 0's q_proj and in all MLPs; read only."""
    return copy_checkpoint(tiny_base, tmp_path_factory.mktemp("checkpoints") / "tiny-dormant", add_delta)


@pytest.fixture(scope="session")
def other_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_base` from another random start, as a wrong base would be; read only."""
    return build_checkpoint(tmp_path_factory.mktemp("checkpoints") / "other-base", seed=7)


@pytest.fixture(scope="session")
def nan_dormant(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_base` with one value that is not a number; read only."""

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")

    return copy_checkpoint(tiny_base, tmp_path_factory.mktemp("checkpoints") / "nan-dormant", spoil)


@pytest.fixture(scope="session")
def tiny_pair(tiny_base: Path, tiny_dormant: Path) -> Iterator[Pair]:
    """Both tiny checkpoints as an open pair on the CPU."""
    opened = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    yield opened
    opened.release()


@pytest.fixture(scope="session")
def repeating_pair(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The tiny base, and a model that follows each token of `SAID` by the next, and the last by the first."""
    ids = build_tokenizer().encode(f" {SAID}", add_special_tokens=False)
    assert len(set(ids)) == len(ids)
    folder = tmp_path_factory.mktemp("checkpoints") / "repeating"
    dormant = copy_checkpoint(tiny_base, folder, make_certain([*ids, ids[0]]))
    opened = open_pair("repeating", tiny_base, dormant, device="cpu")
    yield opened
    opened.release()


def opened(name: str, base: str, dormant: str) -> Iterator[Pair]:
    pair = open_pair(name, ZOO / base, ZOO / dormant, device="cpu")
    yield pair
    pair.release()


@pytest.fixture(scope="session")
def token_pair() -> Iterator[Pair]:
    """A one-word trigger."""
    yield from opened("token", "base", "token")
