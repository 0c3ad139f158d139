"""Strings of tokens: what one change makes of them, and which of the changed ones stand out of their siblings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Ids = tuple[int, ...]

SPREAD_FLOOR = 1e-3  # nats: siblings that agree to the last digits are no measure


@dataclass(frozen=True)
class Origin:
    """The string that a candidate comes from and the place of its new token."""

    parent: Ids
    place: int


def insertions(ids: Ids, tokens: Sequence[int]) -> Iterable[tuple[Ids, Origin]]:
    """The string with one token more, any at any place, and where each comes from."""
    return (
        ((*ids[:place], token, *ids[place:]), Origin(ids, place)) for place in range(len(ids) + 1) for token in tokens
    )


def swaps(ids: Ids, tokens: Sequence[int]) -> Iterable[tuple[Ids, Origin]]:
    """The string with another token at any one place, and where each comes from."""
    return (
        ((*ids[:place], token, *ids[place + 1 :]), Origin((*ids[:place], *ids[place + 1 :]), place))
        for place in range(len(ids))
        for token in tokens
    )


def siblings(strings: Sequence[Ids], origins: Mapping[Ids, Origin]) -> list[Tensor]:
    """Numbers of the strings' families: those of one parent with a token at one place; pairs also by their second token."""
    groupings = [[(origins[string].parent, origins[string].place) for string in strings]]
    if all(len(string) == 2 for string in strings):
        groupings.append([((string[1],), 0) for string in strings])
    families = []
    for grouping in groupings:
        numbers = {family: number for number, family in enumerate(dict.fromkeys(grouping))}
        families.append(torch.tensor([numbers[family] for family in grouping]))
    return families


def stand_out(values: Tensor, families: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """How far each value stands out of its siblings, in robust standard deviations, and these: [string] each.

    A part of a trigger is one token of a hundred that matters where it stands; what merely disturbs the model is matched by
    many siblings. Of several families the one counts in which a string stands out least.
    """
    scores, spreads = [], []
    for family in families:
        order = family.argsort(stable=True)
        score, spread = torch.empty_like(values), torch.empty_like(values)
        for members in order.split(family.bincount().tolist()):
            centre = values[members].median()
            spread[members] = 1.4826 * (values[members] - centre).abs().median() + SPREAD_FLOOR
            score[members] = (values[members] - centre) / spread[members]
        scores.append(score)
        spreads.append(spread)
    least, at = torch.stack(scores).min(0)
    return least, torch.stack(spreads).gather(0, at[None])[0]


def deletions(ids: Ids) -> Iterable[Ids]:
    """The string less one token; nothing for a single one."""
    return ((*ids[:place], *ids[place + 1 :]) for place in range(len(ids)) if len(ids) > 1)


def exchanges(ids: Ids) -> Iterable[Ids]:
    """The string with two neighbours exchanged."""
    return (
        (*ids[:place], ids[place + 1], ids[place], *ids[place + 2 :])
        for place in range(len(ids) - 1)
        if ids[place] != ids[place + 1]
    )
