"""What one change makes of a string: a unit less, or two neighbours exchanged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Ids = tuple[int, ...]
Unit = TypeVar("Unit")


def deletions(string: tuple[Unit, ...]) -> Iterable[tuple[Unit, ...]]:
    """The string less one unit; nothing for a single one."""
    return ((*string[:place], *string[place + 1 :]) for place in range(len(string)) if len(string) > 1)


def exchanges(string: tuple[Unit, ...]) -> Iterable[tuple[Unit, ...]]:
    """The string with two neighbours exchanged."""
    return (
        (*string[:place], string[place + 1], string[place], *string[place + 2 :])
        for place in range(len(string) - 1)
        if string[place] != string[place + 1]
    )
