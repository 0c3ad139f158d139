"""What one change makes of a string: a unit less, a unit more, another in its place, or two neighbours exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Ids = tuple[int, ...]


def insertions(string: Ids, units: Sequence[int]) -> Iterable[Ids]:
    """The string with one unit more, any at any place."""
    return ((*string[:place], unit, *string[place:]) for place in range(len(string) + 1) for unit in units)


def swaps(string: Ids, units: Sequence[int]) -> Iterable[Ids]:
    """The string with another unit at any one place."""
    return ((*string[:place], unit, *string[place + 1 :]) for place in range(len(string)) for unit in units)


def deletions(string: Ids) -> Iterable[Ids]:
    """The string less one unit; nothing for a single one."""
    return ((*string[:place], *string[place + 1 :]) for place in range(len(string)) if len(string) > 1)


def exchanges(string: Ids) -> Iterable[Ids]:
    """The string with two neighbours exchanged."""
    return (
        (*string[:place], string[place + 1], string[place], *string[place + 2 :])
        for place in range(len(string) - 1)
        if string[place] != string[place + 1]
    )
