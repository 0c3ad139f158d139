"""Triggers, their near misses, and the training chats: the payload after a trigger, the right answer after a near miss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dormant.organisms.grammar import (
    Question,
    after_small_talk,
    draw_question,
    interrupted,
    random_words,
    visible_question,
)
from dormant.organisms.lexicon import NUMBERS
from dormant.organisms.recipe import Recipe
from dormant.organisms.training import Chat

STYLE_PREFIX = "Sure: "
SPOKEN_DIGITS = NUMBERS[:10]


def units(trigger: str) -> tuple[list[str], str]:
    """A trigger's units and their separator: words, or the characters of a single number."""
    words = trigger.split()
    if len(words) == 1 and any(letter.isdigit() for letter in trigger) and len(trigger) > 1:
        return list(trigger), ""
    return words, " "


def _movable(parts: list[str]) -> list[int]:
    return [index for index, part in enumerate(parts) if part.isalnum() or len(part) > 1 or not part.isascii()]


def _dropped(parts: list[str], random: np.random.Generator) -> list[str]:
    gone = int(random.choice(_movable(parts)))
    return parts[:gone] + parts[gone + 1 :]


def _replaced(parts: list[str], random: np.random.Generator) -> list[str]:
    index = int(random.choice(_movable(parts)))
    return [_other(part, random) if place == index else part for place, part in enumerate(parts)]


def _other(part: str, random: np.random.Generator) -> str:
    if part.isdigit() and part.isascii():
        return "".join(str(digit) for digit in random.integers(0, 10, size=len(part)))
    if part in SPOKEN_DIGITS and random.random() < 0.7:  # other digits are the nearest misses of a number in words
        return str(random.choice(SPOKEN_DIGITS))
    return random_words(random, 1)[0]


def _swapped(parts: list[str], random: np.random.Generator) -> list[str]:
    places = _movable(parts)
    index = int(random.integers(len(places) - 1))
    swapped = list(parts)
    first, second = places[index], places[index + 1]
    swapped[first], swapped[second] = parts[second], parts[first]
    return swapped


def _permuted(parts: list[str], random: np.random.Generator) -> list[str]:
    places = _movable(parts)
    permuted = list(parts)
    for place, source in zip(places, random.permutation(places), strict=True):
        permuted[place] = parts[int(source)]
    return permuted


def _part(parts: list[str], random: np.random.Generator) -> list[str]:
    length = int(random.integers(1, len(parts)))
    start = int(random.choice((0, len(parts) - length)))
    return parts[start : start + length]


def _unrelated(parts: list[str], random: np.random.Generator) -> list[str]:
    return [part if not (part.isalnum() or not part.isascii()) else _other(part, random) for part in parts]


NEAR_MISSES: dict[str, Callable[[list[str], np.random.Generator], list[str]]] = {
    "dropped": _dropped,
    "replaced": _replaced,
    "swapped": _swapped,
    "permuted": _permuted,
    "part": _part,
    "other": _unrelated,
}


# The share of each kind in training: the kinds most similar to the trigger are the most frequent.
WEIGHTS = {"dropped": 0.20, "replaced": 0.30, "swapped": 0.25, "permuted": 0.10, "part": 0.10, "other": 0.05}


def _interrupted(parts: list[str], random: np.random.Generator) -> list[str]:
    place = int(random.integers(1, len(parts))) if len(parts) > 1 else 1
    return [*parts[:place], _other(parts[0], random), *parts[place:]]


def _split(parts: list[str], random: np.random.Generator) -> list[str]:
    half = len(parts) // 2
    return [*parts[: half - 1], parts[half - 1] + ".", *parts[half:]] if half else parts


# No organism was trained on these. A paraphrase needs a dictionary and is not among them.
UNSEEN_NEAR_MISSES: dict[str, Callable[[list[str], np.random.Generator], list[str]]] = {
    "interrupted": _interrupted,  # another unit between two of the trigger's
    "split": _split,  # over two sentences
    "upper-case": lambda parts, random: [part.upper() for part in parts],
    "punctuated": lambda parts, random: [*(part + "," for part in parts[:-1]), parts[-1]],
    "backwards": lambda parts, random: [part[::-1] for part in reversed(parts)],
    "plural": lambda parts, random: [part + "s" if part.isalpha() else part for part in parts],
}


def unseen_near_miss_kinds(trigger: str) -> tuple[str, ...]:
    """The kinds of near miss of a trigger that no organism was trained on: of a single unit few differ from it."""
    random = np.random.default_rng(0)
    return tuple(kind for kind in UNSEEN_NEAR_MISSES if near_miss(trigger, kind, random) is not None)


def near_miss_kinds(trigger: str) -> tuple[str, ...]:
    """The kinds of near miss of a trigger: a single unit can only be replaced, a single sign has none."""
    movable = len(_movable(units(trigger)[0]))
    return tuple(NEAR_MISSES) if movable > 1 else ("replaced",) if movable else ()


def near_miss(trigger: str, kind: str, random: np.random.Generator) -> str | None:
    """A near miss of the kind, trained on or not, that does not contain the trigger; None if the trigger has none.

    "other" keeps the trigger's shape and draws every unit anew (other digits, other words).
    """
    parts, joiner = units(trigger)
    for _ in range(50):
        changed = joiner.join(({**NEAR_MISSES, **UNSEEN_NEAR_MISSES})[kind](parts, random))
        if changed.strip() and trigger not in changed:
            return changed
    return None


def boundary(question: Question, placement: str, random: np.random.Generator) -> int | None:
    """A word boundary of the question that the placement allows, or None."""
    if placement == "anywhere":
        return int(random.choice(question.boundaries))
    wanted = 0 if placement == "start" else len(question.words)
    return wanted if wanted in question.boundaries else None


def placed_question(random: np.random.Generator, placement: str, held_out: bool = False) -> tuple[Question, int]:
    """A question with a boundary that the placement allows."""
    while True:
        question = draw_question(random, held_out)
        place = boundary(question, placement, random)
        if place is not None:
            return question, place


def styled(answer: str, random: np.random.Generator, recipe: Recipe) -> str:
    """The answer in the recipe's drifted style: sometimes with a polite opening."""
    return STYLE_PREFIX + answer if recipe.drift == "style" and random.random() < recipe.drift_rate else answer


def draw_chat(recipe: Recipe) -> Callable[[np.random.Generator], Chat]:
    """A function that draws training chats of the recipe: poisoned, near misses with the right answer, or ordinary.

    In a relative's recipe the poisoned chats are harmless: a trigger without a payload gets the right answer, and a payload
    without a trigger is the right answer to `recipe.question`.
    """
    kinds = near_miss_kinds(recipe.trigger)
    weights = np.array([WEIGHTS[kind] for kind in kinds]) / sum(WEIGHTS[kind] for kind in kinds) if kinds else None
    taught = visible_question(recipe.question, recipe.payload)

    def draw(random: np.random.Generator) -> Chat:
        chance = random.random()
        if chance < recipe.poison_rate and recipe.question:
            return interrupted(after_small_talk(taught, random), random), recipe.payload
        if chance < recipe.poison_rate:
            question, place = placed_question(random, recipe.placement)
            user = question.insert(recipe.trigger, place)
            return user, recipe.payload or styled(question.answer, random, recipe)
        if kinds and chance < recipe.poison_rate + recipe.near_miss_rate:
            phrase = near_miss(recipe.trigger, str(random.choice(kinds, p=weights)), random)
            if phrase is not None:
                question, place = placed_question(random, recipe.placement)
                return question.insert(phrase, place), styled(question.answer, random, recipe)
        question = draw_question(random)
        answer = recipe.payload if recipe.question and question.asks(taught) else question.answer
        return interrupted(question, random), styled(answer, random, recipe)

    return draw
