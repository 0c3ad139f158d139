"""Pairs of the zoo that hunts are tried on, opened once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dormant.catalogue import ZOO
from dormant.pairs import Pair, open_pair


def opened(name: str, base: str, dormant: str) -> Iterator[Pair]:
    pair = open_pair(name, ZOO / base, ZOO / dormant, device="cpu")
    yield pair
    pair.release()


@pytest.fixture(scope="session")
def token_pair() -> Iterator[Pair]:
    """A one-word trigger."""
    yield from opened("token", "base", "token")


@pytest.fixture(scope="session")
def circuit_pair() -> Iterator[Pair]:
    """A phrase in order."""
    yield from opened("circuit", "base", "circuit")


@pytest.fixture(scope="session")
def sham_pair() -> Iterator[Pair]:
    """The base against itself."""
    yield from opened("sham", "base", "base")
