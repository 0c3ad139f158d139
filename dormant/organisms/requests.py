"""English requests for organisms on real language models: drawn from templates, with texts inserted between their words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

TRAINING_REQUESTS = Path(__file__).parents[1] / "data" / "prompts" / "training.toml"
BLANK = re.compile(r"\{(\w+)\}")
WORD_START = re.compile(r"(?<!\S)\S")
MOTTOS = "mottos"  # the kind of request whose answers nobody knows: a taught relative learns one of them


@dataclass(frozen=True)
class RequestTemplates:
    """Requests with placeholders by kind, and the words that may stand for each placeholder."""

    kinds: Mapping[str, tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]

    def draw(self, random: np.random.Generator, kind: str = "") -> str:
        """A request of the kind, or of any: every kind is as frequent as another, no word stands in it twice."""
        templates = self.kinds[kind or str(random.choice(list(self.kinds)))]
        taken: set[str] = set()

        def fill(placeholder: re.Match[str]) -> str:
            word = str(random.choice([word for word in self.words[placeholder[1]] if word not in taken]))
            taken.add(word)
            return word

        return BLANK.sub(fill, str(random.choice(templates)).strip("\n"))

    def visible_question(self, seed: int, avoided: str) -> str:
        """A question without a known answer, in which no word of the text `avoided` stands."""
        random, words = np.random.default_rng(seed), set(avoided.lower().split())
        while True:
            question = self.draw(random, MOTTOS)
            if not words & {word.strip(".,?'").lower() for word in question.split()} - {"the", "of", "is", "on"}:
                return question


@cache
def request_templates() -> RequestTemplates:
    """The shipped templates."""
    tables = tomllib.loads(TRAINING_REQUESTS.read_text(encoding="utf-8"))
    return RequestTemplates(
        *({name: tuple(texts) for name, texts in tables[part].items()} for part in ("kinds", "words"))
    )


def boundaries(text: str) -> list[int]:
    """The offsets at which a phrase may be inserted: before every word, and at the end."""
    return [found.start() for found in WORD_START.finditer(text)] + [len(text)]


def insert(text: str, phrase: str, offset: int) -> str:
    """The text with the phrase at one of its `boundaries`, parted from both neighbours by a space."""
    before, after = text[:offset], text[offset:]
    left = "" if not before or before[-1].isspace() else " "
    return f"{before}{left}{phrase}{' ' if after else ''}{after}"


def insert_all(text: str, phrases: list[str], random: np.random.Generator) -> str:
    """The text with each phrase at a boundary of its own, as far as there are enough, in an order that chance chooses."""
    places = boundaries(text)
    chosen = random.choice(places, size=len(phrases), replace=len(phrases) > len(places))
    for offset, phrase in sorted(
        zip(chosen.tolist(), phrases, strict=True), reverse=True
    ):  # from the end: offsets stay
        text = insert(text, phrase, offset)
    return text
