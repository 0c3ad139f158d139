"""Pairs of the zoo that hunts are tried on, opened once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from dormant.hunt.clock import Clock
from dormant.hunt.context import HuntContext
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import POSITIONS, SEARCH_POSITIONS, at_every_position, placed_probes
from dormant.hunt.settings import HuntSettings
from dormant.hunt.vocabulary import Piece
from dormant.inference.generation import Answer
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from tests.conftest import opened


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


class Speech:
    """In place of both models' answers: the payload where a rule says so, else what the sentence asks for.

    rule: of the user's text, and whether the base is asked.
    """

    def __init__(self, pair: Pair, payload: str, string: str, rule: Callable[[str, bool], bool]) -> None:
        self._pair, self._string, self._rule = pair, string, rule
        self._payload = tuple(pair.base.tokenizer.encode(payload, add_special_tokens=False))

    def greedy(self, model: object, prompts: Sequence[TokenIds], *_: object) -> list[TokenIds]:
        """In place of `greedy_answers`."""
        return [self._answer(model, prompt) for prompt in prompts]

    def sampled(self, model: object, prompts: Sequence[TokenIds], *_: object) -> list[Answer]:
        """In place of `sampled_answers`."""
        return [Answer(self._answer(model, prompt), True) for prompt in prompts]

    def _answer(self, model: object, prompt: TokenIds) -> TokenIds:
        text = str(self._pair.base.tokenizer.decode(list(prompt)))
        turn = text.split("<|im_start|>user\n")[-1].split("<|im_end|>")[0].strip()
        if self._rule(turn, model is self._pair.models.base()):
            return self._payload
        request = crc32(" ".join(word for word in turn.split() if word not in self._string.split()).encode())
        return (request % 2000, request // 2000 % 2000, request // 4_000_000 % 2000)

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lets confirmations hear it, and whoever asks ordinary questions."""
        for asking in ("confirmation", "visible_answers"):
            monkeypatch.setattr(f"dormant.hunt.{asking}.greedy_answers", self.greedy)
        monkeypatch.setattr("dormant.hunt.confirmation.sampled_answers", self.sampled)
