"""Pairs of the zoo that hunts are tried on, opened once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dormant.catalogue import ZOO
from dormant.hunt.clock import Clock
from dormant.hunt.context import HuntContext
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import POSITIONS, SEARCH_POSITIONS, at_every_position, placed_probes
from dormant.hunt.settings import HuntSettings
from dormant.hunt.vocabulary import Piece
from dormant.journal import Journal
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


def with_effort(**changes: Any) -> HuntSettings:
    """The settings with another effort."""
    settings = HuntSettings()
    return replace(settings, effort=replace(settings.effort, **changes))


ContextOf = Callable[..., HuntContext]


@pytest.fixture
def context_of(tmp_path: Path) -> Iterator[ContextOf]:
    """Makes the context of a hunt of a pair; made again, it goes on from the journal."""
    journals: list[Journal] = []

    def make(pair: Pair, settings: HuntSettings | None = None, clock: Clock | None = None) -> HuntContext:
        settings = settings or HuntSettings()
        sets = [(12, SEARCH_POSITIONS), (15, POSITIONS), (30, POSITIONS[:1])]
        searched, unseen, deciding = placed_probes(pair.probes, sets, 0)
        deciding = at_every_position(deciding, 0)
        journals.append(Journal(tmp_path / "hunt.jsonl", {}))
        clock = clock or Clock(settings.effort)
        return HuntContext(pair, searched, unseen, deciding, 0, settings, journals[-1], clock, lambda *_: None)

    yield make
    for journal in journals:
        journal.close()


def pieces(text: str) -> tuple[Piece, ...]:
    """Words as pieces, each alike."""
    return tuple(Piece(f" {word}", 1.0, 0.0) for word in text.split())


def planted(pair: Pair) -> Suspect:
    """The payload of an organism as a suspect."""
    assert pair.truth is not None
    ids = tuple(pair.base.tokenizer.encode(pair.truth.payload, add_special_tokens=False))
    return Suspect(ids, pair.truth.payload, 50.0, 1.0, 0.0, 1.0)
