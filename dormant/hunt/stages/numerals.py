"""Numbers in digits or in words, in which any may stand twice: so few that all short ones are tried.

Where hints name digits a number may be meant, and a number mostly repeats some of its digits, which no other rung allows. Which
of them are hinted most says little of where they stand, so all count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from dormant.hunt.stages.coordinate_ascent import Climbing, Parts, ScoredPieces
from dormant.hunt.vocabulary import Unit

DIGITS = tuple("0123456789")
APART = tuple(f" {digit}" for digit in DIGITS)  # as they stand behind a space
WORDS = tuple(f" {word}" for word in "zero one two three four five six seven eight nine ten".split())
NOTATIONS = {"digits": (*DIGITS, *APART), "words for digits": WORDS}
# What hints must name for a notation to be tried: so many different digits among the first so many units, which luck brings
# about on one pair of models in a thousand.
NAMED, HINTED = 2, 24
# Digits of which every number is tried, where the spaces between them are free and where all or none stand apart, 28,420
# strings; longer ones go on from the best of these.
FREE, ALL, LONGEST = 3, 4, 8


def hinted_notations(units: Sequence[Unit]) -> list[str]:
    """The names of the notations in which hints name several digits; units: the most hinted first."""
    named = {unit.text.strip() for unit in units[:HINTED]}
    return [name for name, members in NOTATIONS.items() if len(named & {one.strip() for one in members}) >= NAMED]


def notation_of(text: str) -> str:
    """The name of the notation in which the text is a number, empty where it is none."""
    for name, members in NOTATIONS.items():
        digits = text.split() if members is WORDS else list(text.replace(" ", ""))
        if digits and set(digits) <= {member.strip() for member in members}:
            return name
    return ""


def number_units(text: str) -> list[Unit]:
    """What another number may stand in for this one of, each alike; nothing where the text is no number in one notation."""
    members = NOTATIONS.get(notation_of(text), ())
    return [Unit(member, 1 / len(members), 0.0) for member in members]


def short_numbers(notation: str) -> Iterator[Parts]:
    """Every number in a notation of up to `FREE` digits, and of `ALL` where spaces are not free."""
    members = NOTATIONS[notation]
    alphabets = (members,) if members is WORDS else (DIGITS, APART)
    for length in range(1, ALL + 1):
        for alphabet in (members,) if length <= FREE else alphabets:
            yield from product(alphabet, repeat=length)


def likeliest_number(climbing: Climbing, notation: str, late: Callable[[], bool] = lambda: False) -> ScoredPieces:
    """The number behind which the payload is likeliest, and no longer than one that speaks on all prompts, if one does.

    Beyond `ALL` digits numbers are the likeliest shorter ones with one digit more at any place.
    """
    found = climbing.best(list(short_numbers(notation)))
    best = found[0]
    for _ in range(ALL, LONGEST):
        if best.speaks == 1 or late():
            break
        found = climbing.best(list(dict.fromkeys(longer for one in found for longer in _longer(one.parts, notation))))
        best = max(best, found[0], key=lambda foothold: foothold.odds)
    return best


def _longer(parts: Parts, notation: str) -> Iterator[Parts]:
    return ((*parts[:at], member, *parts[at:]) for member in NOTATIONS[notation] for at in range(len(parts) + 1))
