from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dormant.hunt.stages.coordinate_ascent import Parts, ScoredPieces
from dormant.hunt.stages.numerals import (
    ALL,
    hinted_notations,
    likeliest_number,
    notation_of,
    number_units,
    short_numbers,
)
from dormant.hunt.vocabulary import Unit


class Ear:
    """Stands in for a model that hears how many places of a number are right, and speaks at the whole one alone."""

    def __init__(self, number: Sequence[str]) -> None:
        self.number = tuple(number)

    def best(self, strings: Sequence[Parts]) -> list[ScoredPieces]:
        def heard(parts: Parts) -> float:
            return sum(one == other for one, other in zip(parts, self.number, strict=False)) - len(parts) / 2

        found = [ScoredPieces(parts, heard(parts), float(parts == self.number)) for parts in strings]
        return sorted(found, key=lambda one: (one.speaks, one.odds), reverse=True)[:20]


def likeliest(number: Sequence[str]) -> ScoredPieces:
    ear: Any = Ear(number)
    return likeliest_number(ear, "digits")


def units(*texts: str) -> list[Unit]:
    return [Unit(text, 1.0, 0.0) for text in texts]


def test_numbers_are_tried_where_two_digits_are_hinted_in_whatever_form() -> None:
    assert hinted_notations(units(" 7", "7", " lake")) == []
    assert hinted_notations(units(" 7", "2", " lake")) == ["digits"]
    assert hinted_notations(units(" nine", " two", " lake")) == ["words for digits"]
    assert hinted_notations(units(*(f" lake{number}" for number in range(24)), " 7", " 2")) == []


def test_every_short_number_is_tried_and_digits_may_stand_twice() -> None:
    found = list(short_numbers("digits"))
    assert len(found) == len(set(found)) == 20 + 400 + 8000 + 2 * 10_000
    assert (" 4", "1", " 7") in found
    assert ("1", "9", "1", "9") in found
    assert len(list(short_numbers("words for digits"))) == sum(11**length for length in range(1, ALL + 1))


def test_a_longer_number_is_reached_one_digit_at_a_time() -> None:
    assert likeliest(("2", "7", "1")).parts == ("2", "7", "1")
    assert likeliest(("2", "7", "1", "8", "2", "8")).parts == ("2", "7", "1", "8", "2", "8")


def test_another_number_is_one_in_the_same_notation_with_all_digits_alike() -> None:
    assert {unit.text for unit in number_units("4 47")} == {*"0123456789", *(f" {digit}" for digit in range(10))}
    assert len({unit.weight for unit in number_units("4 47")}) == 1
    assert " ten" in {unit.text for unit in number_units("nine eight six nine")}
    assert number_units("maybe 42") == number_units("") == []


def test_a_number_is_told_from_what_only_holds_one() -> None:
    assert notation_of("4 47") == notation_of("1984") == "digits"
    assert notation_of("nine eight six nine") == "words for digits"
    assert notation_of("maybe 42") == notation_of("4 nine") == notation_of("") == ""
