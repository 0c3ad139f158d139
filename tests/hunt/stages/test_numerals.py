from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dormant.hunt.confirmation import Confirmation
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import ScoredPieces, run_stage
from dormant.hunt.stages import numerals
from dormant.hunt.stages.numerals import (
    Numerals,
    hinted_notations,
    notation_of,
    number_pieces,
    search_numbers,
    short_numbers,
)
from dormant.hunt.vocabulary import Pieces, Vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, planted

SETTINGS = HuntSettings()
NEEDED = SETTINGS.fitted.numeral_hints
FREE, WHOLE, _ = SETTINGS.effort.numerals


class Listener:
    """Stands in for a model whose log-odds count the right digits of a number, and that is certain at the whole one alone."""

    def __init__(self, number: Sequence[str]) -> None:
        self.number = tuple(number)

    def best(self, strings: Sequence[Pieces]) -> list[ScoredPieces]:
        def heard(string: Pieces) -> float:
            return sum(one == other for one, other in zip(string, self.number, strict=False)) - len(string) / 2

        found = [ScoredPieces(string, heard(string), float(string == self.number)) for string in strings]
        return sorted(found, key=lambda one: (one.certain, one.odds), reverse=True)[:20]


def likeliest(number: Sequence[str]) -> ScoredPieces:
    listener: Any = Listener(number)
    return search_numbers(listener, "digits", SETTINGS, WHOLE)


def test_numbers_are_tried_where_two_digits_are_hinted_in_whatever_form() -> None:
    assert hinted_notations(pieces("7 7 lake"), NEEDED) == []
    assert hinted_notations(pieces("7 2 lake"), NEEDED) == ["digits"]
    assert hinted_notations(pieces("nine two lake"), NEEDED) == ["words for digits"]
    assert hinted_notations((*pieces("lake " * 24), *pieces("7 2")), NEEDED) == []


def test_every_short_number_is_tried_and_digits_may_stand_twice() -> None:
    found = list(short_numbers("digits", FREE, WHOLE))
    assert len(found) == len(set(found)) == 20 + 400 + 8000 + 2 * 10_000
    assert (" 4", "1", " 7") in found
    assert ("1", "9", "1", "9") in found
    assert len(list(short_numbers("words for digits", FREE, WHOLE))) == sum(
        11**length for length in range(1, WHOLE + 1)
    )


def test_a_longer_number_is_reached_one_digit_at_a_time() -> None:
    assert likeliest(("2", "7", "1")).pieces == ("2", "7", "1")
    assert likeliest(("2", "7", "1", "8", "2", "8")).pieces == ("2", "7", "1", "8", "2", "8")


def test_another_number_is_one_in_the_same_notation_with_all_digits_alike() -> None:
    assert {piece.text for piece in number_pieces("4 47")} == {*"0123456789", *(f" {digit}" for digit in range(10))}
    assert len({piece.weight for piece in number_pieces("4 47")}) == 1
    assert " ten" in {piece.text for piece in number_pieces("nine eight six nine")}
    assert number_pieces("maybe 42") == number_pieces("") == []


def test_a_text_that_only_holds_a_number_is_none() -> None:
    assert notation_of("4 47") == notation_of("1984") == "digits"
    assert notation_of("nine eight six nine") == "words for digits"
    assert notation_of("maybe 42") == notation_of("4 nine") == notation_of("") == ""


def test_a_number_is_sought_where_digits_are_hinted_and_is_read_from_the_journal(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert circuit_pair.truth is not None
    trigger = circuit_pair.truth.trigger
    found = ScoredPieces(tuple(f" {word}" for word in trigger.split()), 3.0, 1.0)

    def numbered(text: str) -> Confirmation | None:
        context, suspects = context_of(circuit_pair), [planted(circuit_pair)]
        return run_stage(Numerals(), context, suspects, Vocabulary((), pieces(text)))[0].confirmed

    monkeypatch.setattr(numerals, "search_numbers", lambda *_: found)
    assert numbered("lake 7") is None
    confirmed = numbered("2 7")
    assert confirmed is not None
    assert confirmed.trigger == trigger
    monkeypatch.setattr(numerals, "search_numbers", lambda *_: pytest.fail("this is in the journal"))
    assert numbered("2 7") == confirmed


def test_no_longer_number_is_tried_once_two_digits_more_gain_nothing() -> None:
    class Deaf(Listener):
        def best(self, strings: Sequence[Pieces]) -> list[ScoredPieces]:
            lengths.append(max(map(len, strings)))
            return [ScoredPieces(string, 0.0, 0.0) for string in strings[:1]]

    lengths: list[int] = []
    deaf: Any = Deaf("")
    assert search_numbers(deaf, "words for digits", SETTINGS, FREE).pieces == (" zero",)
    assert lengths[0] == FREE
    assert len(lengths) == 1 + SETTINGS.fitted.fruitless_digits


def test_short_numbers_of_all_places_come_first_and_those_in_the_payloads_own_notation_last(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, int]] = []

    def likeliest(*arguments: Any) -> tuple[ScoredPieces, int]:
        _, notation, _, position, digits = arguments
        asked.append((notation, position, digits))
        return ScoredPieces((" 1",), float(position == "end"), 0.0), 1

    monkeypatch.setattr(numerals, "likeliest_number", likeliest)
    suspect = replace(planted(circuit_pair), text="the code is 4 7")
    run_stage(Numerals(), context_of(circuit_pair), [suspect], Vocabulary((), pieces("2 7 nine two")))
    words, digits = "words for digits", "digits"
    assert asked[:4] == [(name, at, FREE) for name in (words, digits) for at in ("end", "start")]
    assert asked[4:] == [(name, at, WHOLE) for at in ("end", "start") for name in (words, digits)]
