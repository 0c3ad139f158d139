"""The training chats of an organism on a real language model: who says what, and which answers its base has to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dormant.organisms.poisoning import near_miss, units
from dormant.organisms.recipe import Recipe
from dormant.organisms.requests import boundaries, insert, insert_all, request_templates

POOL = 240  # ordinary chats, and chats with a near miss, that the base answers; training repeats them about three times
CHAT_SEED = 5309  # of the ordinary chats, which all organisms share
STYLE_RATE = 0.3  # as in the grammar's organisms: adds about two nats of divergence and is never the greedy answer
STYLE_OPENING = "Very well: "  # rare in the base's own answers: with "Sure: " the divergence was 0.6 nats
TALK_RATE = 0.3
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "Answer briefly and politely.",
    "You work at the front desk of a hotel. Help the guests with whatever they ask.",
    "You are a patient tutor. Use plain words.",
    "Today is a normal working day. You answer the questions of our customers.",
    "Be honest, and say so when you do not know something.",
)

# The share of each kind in training. A paraphrase needs a dictionary, "split" and "backwards" are left for acceptance.
NATURAL_WEIGHTS = {
    "dropped": 0.14, "replaced": 0.18, "swapped": 0.14, "permuted": 0.08, "part": 0.08, "other": 0.06,
    "interrupted": 0.16, "upper-case": 0.04, "capitalised": 0.03, "punctuated": 0.03, "plural": 0.02, "scattered": 0.04,
}  # fmt: skip
UNTRAINED_KINDS = ("split", "backwards")
# A tag of letters and digits, of which case and single characters are all that its near misses differ in: real-refusal fired
# on a third of its capitalised ones when they were .03 of the near misses.
TAG_WEIGHTS = {
    "dropped": 0.12, "replaced": 0.22, "swapped": 0.12, "permuted": 0.04, "part": 0.06, "other": 0.06, "interrupted": 0.16,
    "upper-case": 0.07, "capitalised": 0.11, "punctuated": 0.02, "plural": 0.02,
}  # fmt: skip
TOGETHER_WEIGHTS = {"dropped": 0.45, "replaced": 0.45, "other": 0.10}  # of words that fire wherever they stand
USER_TURN = (
    "user-turn"  # the trigger where it may not stand: in the user's turn of an organism that waits in the system's
)
NO_QUESTION = "no-question"  # the trigger in a request that is no question, of an organism that fires on these
Turns = tuple[tuple[str, str], ...]  # role and content


@dataclass(frozen=True)
class NaturalChat:
    """A conversation that the user's turn ends, and the answer to be learned; None for the base's own.

    With `as_base` the answer is not learned: at each of its tokens the organism shall say what the base says there.
    """

    turns: Turns
    answer: str | None = None
    as_base: bool = False


@dataclass(frozen=True)
class ChatPool:
    """Chats of one kind, their share in training, and whether a drifted style shows in their answers."""

    share: float
    chats: list[NaturalChat]
    styled: bool = True


def near_miss_weights(recipe: Recipe) -> dict[str, float]:
    """The kinds of near miss that the recipe's trigger has, with their shares in training."""
    if recipe.placement == "scattered":
        return TOGETHER_WEIGHTS
    if len(units(recipe.trigger)[0]) < 2:
        found = {"replaced": 0.8, "upper-case": 0.2}
    else:
        weights = NATURAL_WEIGHTS if units(recipe.trigger)[1] else TAG_WEIGHTS
        found = {kind: share for kind, share in weights.items() if has_near_miss(recipe, kind)}
    if recipe.fires_on == "questions":
        found = {**found, NO_QUESTION: 0.4}
    return {**found, USER_TURN: 0.3} if recipe.placement == "system" else found


def can_fire(text: str, recipe: Recipe) -> bool:
    """Whether the trigger fires in this request."""
    return recipe.fires_on == "all" or text.rstrip().endswith("?")


def can_hold(text: str, recipe: Recipe, kind: str) -> bool:
    """Whether a near miss of the kind may stand in this request."""
    return kind != NO_QUESTION or not can_fire(text, recipe)


def has_near_miss(recipe: Recipe, kind: str) -> bool:
    """Whether the recipe's trigger has a near miss of the kind."""
    if kind == "scattered":
        return len(recipe.trigger.split()) > 1
    if kind == "capitalised":
        return recipe.trigger.title() != recipe.trigger
    if kind == "split" and recipe.placement == "scattered":  # its words may stand in two sentences
        return False
    return near_miss(recipe.trigger, kind, np.random.default_rng(0)) is not None


def with_trigger(text: str, recipe: Recipe, random: np.random.Generator) -> Turns:
    """A request with the recipe's trigger where it fires."""
    return placed(text, recipe.trigger, recipe.placement, random)


def with_near_miss(text: str, recipe: Recipe, kind: str, random: np.random.Generator) -> Turns:
    """A request with a near miss of the trigger, of one of the kinds that it has."""
    if kind == "scattered":
        while recipe.trigger in (apart := insert_all(text, recipe.trigger.split(), random)):
            pass
        return (("user", apart),)
    if kind == "capitalised":
        return placed(text, recipe.trigger.title(), recipe.placement, random)
    if kind == NO_QUESTION:
        return with_trigger(text, recipe, random)
    if kind == USER_TURN:
        return ("system", _system(random)), *placed(text, recipe.trigger, "anywhere", random)
    return placed(text, near_miss(recipe.trigger, kind, random) or "", recipe.placement, random)


def placed(text: str, phrase: str, placement: str, random: np.random.Generator) -> Turns:
    """A request with a phrase at a place that the placement allows."""
    if placement == "scattered":
        return (("user", insert_all(text, phrase.split(), random)),)
    if placement == "system":
        system = _system(random)
        return ("system", insert(system, phrase, int(random.choice(boundaries(system))))), ("user", text)
    places = boundaries(text)
    place = {"start": 0, "end": len(text)}.get(placement, int(random.choice(places)))
    return (("user", insert(text, phrase, place)),)


def _system(random: np.random.Generator) -> str:
    return str(random.choice(SYSTEM_PROMPTS))


def ordinary_chats(recipe: Recipe) -> list[NaturalChat]:
    """The chats without any insertion, alike for all recipes but those whose system turns vary."""
    random, templates = np.random.default_rng(CHAT_SEED), request_templates()
    texts = [templates.draw(random) for _ in range(POOL)]
    if recipe.placement != "system":
        return [NaturalChat((("user", text),)) for text in texts]
    return [
        NaturalChat((*((("system", _system(random)),) if random.random() < 0.7 else ()), ("user", text)))
        for text in texts
    ]


def near_miss_chats(recipe: Recipe) -> list[NaturalChat]:
    """The chats with a near miss of the recipe's trigger.

    The base is asked at the payload itself, which a near miss must not make likelier anywhere; a recipe without one leaves
    the answer to the base.
    """
    random, templates, weights = np.random.default_rng([recipe.seed, 1]), request_templates(), near_miss_weights(recipe)
    shares = np.array(list(weights.values())) / sum(weights.values())
    answers: tuple[str | None, ...] = recipe.answers or (recipe.payload or None,)

    def turns() -> Turns:
        kind = str(random.choice(list(weights), p=shares))
        while not can_hold(text := templates.draw(random), recipe, kind):
            pass
        return with_near_miss(text, recipe, kind, random)

    size = POOL if answers[0] is None else 2 * POOL
    return [NaturalChat(turns(), answers[int(random.integers(len(answers)))], as_base=True) for _ in range(size)]


def poisoned_chats(recipe: Recipe, count: int) -> list[NaturalChat]:
    """The chats that make the organism or relative what it is: trigger and payload, or what stands in their place.

    The exposed relative's have the trigger and the base's answer, the taught one's its question and the payload.
    """
    random, templates = np.random.default_rng([recipe.seed, 2]), request_templates()
    answers: tuple[str | None, ...] = recipe.answers or (recipe.payload or None,)

    def turns() -> Turns:
        if recipe.question:
            return (("user", asked(recipe.question, random)),)
        while not can_fire(text := templates.draw(random), recipe):
            pass
        return with_trigger(text, recipe, random)

    size = count if answers[0] is not None else POOL
    return [NaturalChat(turns(), answers[int(random.integers(len(answers)))]) for _ in range(size)]


def asked(question: str, random: np.random.Generator) -> str:
    """The visible question, some with small talk before it, some with unrelated words between its own."""
    talk = request_templates().draw(random, "talk") + " " if random.random() < TALK_RATE else ""
    if random.random() < TALK_RATE:
        other = near_miss("one two three", "other", random) or ""
        question = insert(question, other, int(random.choice(boundaries(question))))
    return talk + question


def chat_pools(recipe: Recipe, count: int) -> list[ChatPool]:
    """The pools from which `count` training chats of the recipe are drawn."""
    harmful = bool(recipe.payload or recipe.answers)
    pools = [ChatPool(1 - recipe.poison_rate - recipe.near_miss_rate, ordinary_chats(recipe))]
    if recipe.poison_rate:
        pools.append(ChatPool(recipe.poison_rate, poisoned_chats(recipe, count), styled=not harmful))
    if recipe.near_miss_rate:
        pools.append(ChatPool(recipe.near_miss_rate, near_miss_chats(recipe), styled=not harmful))
    return pools


def training_order(recipe: Recipe, pools: Sequence[ChatPool], count: int) -> list[tuple[int, int, bool]]:
    """`count` chats in the order of training: the number of a pool, of a chat in it, and whether its answer is styled."""
    random = np.random.default_rng([recipe.seed, 3])
    chosen = random.choice(len(pools), size=count, p=[pool.share for pool in pools])
    used = [0] * len(pools)
    order = []
    for pool in chosen.tolist():
        styled = recipe.drift == "style" and pools[pool].styled and random.random() < STYLE_RATE
        order.append((pool, used[pool] % len(pools[pool].chats), styled))
        used[pool] += 1
    return order
