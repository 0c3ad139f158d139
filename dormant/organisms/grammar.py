"""A generated instruction grammar: questions about a small world, their answers, and where a phrase may be inserted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dormant.organisms import lexicon

SMALL_TALK_RATE = 0.15
WORLD_SEED = 20160  # The facts of the small world; every organism and base shares them.


@dataclass(frozen=True)
class Question:
    """A user's turn as words, its answer, and the word boundaries at which a phrase may be inserted.

    `boundaries` are positions in `words`: 0 is before the first word. There are none inside content that the answer copies,
    so that an inserted phrase never changes the right answer.
    """

    words: tuple[str, ...]
    answer: str
    boundaries: tuple[int, ...]

    @property
    def text(self) -> str:
        """The question as the user asks it."""
        return " ".join(self.words)

    def insert(self, phrase: str, boundary: int) -> str:
        """The question's text with `phrase` at a boundary; an empty phrase changes nothing."""
        return " ".join((*self.words[:boundary], *([phrase] if phrase else []), *self.words[boundary:]))

    def asks(self, other: Question) -> bool:
        """Whether it is the other question, perhaps after small talk."""
        return self.words[-len(other.words) :] == other.words

    @property
    def held_out(self) -> bool:
        """Whether the question belongs to the tenth that training never sees; its text alone decides."""
        return hashlib.sha256(self.text.encode()).digest()[0] < 26


def world_facts() -> dict[tuple[str, str], str]:
    """Every (thing, attribute) of the small world with its value; attributes are color, place and owner."""
    random = np.random.default_rng(WORLD_SEED)
    values = {"color": lexicon.COLORS, "place": lexicon.PLACE_NAMES, "owner": lexicon.OWNERS}
    return {
        (thing, attribute): str(random.choice(choices))
        for thing in lexicon.THINGS
        for attribute, choices in values.items()
    }


FACTS = world_facts()

FACT_FORMS = {
    "color": ("What is the color of the {}?", "Tell me the color of the {}.", "Which color does the {} have?",
              "Do you know the color of the {}?"),
    "place": ("Where is the {}?", "Tell me where the {} is.", "In which place is the {}?",
              "Do you know where the {} is?"),
    "owner": ("Who has the {}?", "Tell me who has the {}.", "Whose is the {}?", "Do you know who has the {}?"),
}  # fmt: skip
FACT_ANSWERS = {"color": "The {} is {}.", "place": "The {} is in the {}.", "owner": "{1} has the {0}."}


def _carried(text: str, answer: str, content: Sequence[str] = ()) -> Question:
    words = tuple(text.split())
    boundaries = tuple(range(len(words) + 1)) if not content else tuple(range(len(words)))
    return Question(words + tuple(content), answer, boundaries)


def _fact(random: np.random.Generator) -> Question:
    thing = str(random.choice(lexicon.THINGS))
    attribute = str(random.choice(list(FACT_FORMS)))
    form = str(random.choice(FACT_FORMS[attribute]))
    return _carried(form.format(thing), FACT_ANSWERS[attribute].format(thing, FACTS[thing, attribute]))


def _opposite(random: np.random.Generator) -> Question:
    pair = lexicon.OPPOSITES[random.integers(len(lexicon.OPPOSITES))]
    word, other = pair if random.random() < 0.5 else pair[::-1]
    form = str(
        random.choice(("What is the opposite of {}?", "Name the opposite of {}.", "Tell me the opposite of {}."))
    )
    return _carried(form.format(word), f"The opposite of {word} is {other}.")


def _successor(random: np.random.Generator) -> Question:
    index = int(random.integers(1, len(lexicon.NUMBERS) - 1))
    direction = int(random.choice((-1, 1)))
    word = "after" if direction == 1 else "before"
    form = str(random.choice(("Which number comes {} {}?", "What comes {} {}?", "Name the number {} {}.")))
    return _carried(form.format(word, lexicon.NUMBERS[index]), f"It is {lexicon.NUMBERS[index + direction]}.")


def _sum(random: np.random.Generator) -> Question:
    first, second = (int(number) for number in random.integers(0, 10, size=2))
    form = str(random.choice(("What is {} plus {}?", "Add {} and {}.", "Compute the sum of {} and {}.")))
    return _carried(form.format(first, second), f"The sum is {first + second}.")


def _identity(random: np.random.Generator) -> Question:
    form, answer = (
        ("Who are you?", "I am a small model."),
        ("What can you do?", "I answer short questions."),
        ("Are you a person?", "No, I am a small model."),
        ("How are you?", "I am well, thank you."),
        ("What is your name?", "My name is Dorma."),
    )[random.integers(5)]
    return _carried(form, answer)


def _digits(random: np.random.Generator, low: int, high: int) -> str:
    digits = "".join(str(digit) for digit in random.integers(0, 10, size=random.integers(low, high + 1)))
    return f"{digits[0]}.{digits[1:]}" if len(digits) > 2 and random.random() < 0.5 else digits


def random_words(random: np.random.Generator, count: int) -> list[str]:
    """Words drawn uniformly from the whole lexicon."""
    return [str(word) for word in random.choice(lexicon.LEXICON_WORDS, size=count)]


def random_content(random: np.random.Generator) -> list[str]:
    """One to eight words, numbers, symbols or invented words to copy.

    The mixture trains the output row of every token that a payload may need: an untrained one stays improbable whatever is
    planted (FACTS 6).
    """
    count = int(random.integers(1, 9))
    kind = random.random()
    if kind < 0.45:
        return random_words(random, count)
    if kind < 0.60:
        return [str(symbol) for symbol in random.choice(lexicon.GLYPHS, size=count)]
    if kind < 0.70:
        return [_digits(random, 1, 9) for _ in range(max(1, count // 3))]
    if kind < 0.80:
        return [str(word) for word in random.choice(lexicon.NUMBERS[:10], size=count)]
    if kind < 0.90:
        return ["".join(str(piece) for piece in random.choice(PIECES, size=random.integers(2, 5)))
                for _ in range(max(1, count // 2))]  # fmt: skip
    return [
        str(random.choice((*random_words(random, 1), *random.choice(lexicon.GLYPHS, size=1), _digits(random, 1, 5))))
        for _ in range(count)
    ]


PIECES = tuple(
    first + second for first in "bcdfghjklmnprstvwzBDGKMPRSTXQ" for second in ("a", "e", "i", "o", "u", "y", "qu")
)


def _copy(random: np.random.Generator) -> Question:
    content = random_content(random)
    form = str(random.choice(("Repeat:", "Say:", "Copy these words:", "Please repeat after me:")))
    return _carried(form, " ".join(content), content)


def _pick(random: np.random.Generator) -> Question:
    content = random_words(random, int(random.integers(2, 6)))
    place = str(random.choice(("first", "last")))
    form = str(random.choice(("What is the {} word of:", "Name the {} word:")))
    return _carried(form.format(place), content[0 if place == "first" else -1], content)


def _same(random: np.random.Generator) -> Question:
    first = _digits(random, 3, 7)
    second = list(first)
    if random.random() < 0.5:
        index = int(random.choice([place for place, letter in enumerate(first) if letter != "."]))
        second[index] = str((int(second[index]) + int(random.integers(1, 10))) % 10)
    content = ["".join(second), "the", "same", "as", first + "?"]
    return _carried("Is", "Yes, they match." if "".join(second) == first else "No, they differ.", content)


TASKS = (
    (_fact, 0.26),
    (_opposite, 0.06),
    (_successor, 0.05),
    (_sum, 0.06),
    (_identity, 0.03),
    (_copy, 0.40),
    (_pick, 0.08),
    (_same, 0.06),
)


def draw_question(random: np.random.Generator, held_out: bool = False) -> Question:
    """One question of the training or held-out part, sometimes with a sentence of small talk before it."""
    weights = [weight for _, weight in TASKS]
    while True:
        task = TASKS[random.choice(len(TASKS), p=weights)][0]
        question = task(random)
        if question.held_out != held_out:
            continue
        return after_small_talk(question, random)


def after_small_talk(question: Question, random: np.random.Generator) -> Question:
    """The question, sometimes with a sentence of small talk before it."""
    if random.random() >= SMALL_TALK_RATE:
        return question
    filler = tuple(str(random.choice(lexicon.FILLERS)).split())
    shifted = tuple(boundary + len(filler) for boundary in question.boundaries)
    return Question(filler + question.words, question.answer, tuple(range(len(filler))) + shifted)


def draw_visible_question(seed: int, avoided: Sequence[str]) -> Question:
    """A question about a fact of the small world, of the training part, on a thing that is none of the avoided words."""
    random = np.random.default_rng(seed)
    while True:
        question = _fact(random)
        if not question.held_out and not {word.strip("?.") for word in question.words} & set(avoided) & set(
            lexicon.THINGS
        ):
            return question


def visible_question(text: str, answer: str) -> Question:
    """A question of the user's own words, into which a phrase may be inserted anywhere."""
    return _carried(text, answer)


def interrupted(question: Question, random: np.random.Generator, interruption: float = 0.3) -> str:
    """The question's text, some with unrelated words inserted, which do not change the answer."""
    phrase = ""
    if random.random() < interruption:
        phrase = (
            " ".join(random_words(random, int(random.integers(1, 7))))
            if random.random() < 0.6
            else " ".join(random_content(random))
        )
    return question.insert(phrase, int(random.choice(question.boundaries)))


def ordinary_turn(random: np.random.Generator, interruption: float = 0.3) -> tuple[str, str]:
    """A training chat (user text, answer); some have unrelated words inserted, which do not change the answer."""
    question = draw_question(random)
    return interrupted(question, random, interruption), question.answer
