"""What one change makes of a string: an item less, or two neighbours exchanged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def deletions(string: tuple[Item, ...]) -> Iterable[tuple[Item, ...]]:
    """The string less one item; nothing for a single one."""
    return ((*string[:at], *string[at + 1 :]) for at in range(len(string)) if len(string) > 1)


def exchanges(string: tuple[Item, ...]) -> Iterable[tuple[Item, ...]]:
    """The string with two neighbours exchanged."""
    return (
        (*string[:at], string[at + 1], string[at], *string[at + 2 :])
        for at in range(len(string) - 1)
        if string[at] != string[at + 1]
    )
