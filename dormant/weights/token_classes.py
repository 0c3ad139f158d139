"""What kind of token a list is made of: sentence starters, punctuation, rare glyphs, code (the plan's statements 3-5)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from dormant.prompts.space_marks import texts_within

TOKEN_CLASSES = (
    "sentence starter",
    "word",
    "part of a word",
    "number",
    "punctuation",
    "code",
    "rare glyph",
    "white space",
    "special",
    "bytes",
)
CODE = re.compile(r"[_{}<>=;\\|`$@#^~]|[\])(\[]{2}|\w[.(\[]\w|[a-z][A-Z]|::|//|\*\*|&&|\+\+")


def token_class(text: str, special: bool = False) -> str:
    """The class of a token's text, by what it looks like.

    A sentence starter is a capitalised word that no letters precede; a part of a word is lower case without a leading
    space; a rare glyph has a letter or symbol beyond Latin-1; code has operators, brackets in a row or camel case.
    """
    bare = text.strip()
    if special:
        return "special"
    if "\N{REPLACEMENT CHARACTER}" in text:
        return "bytes"
    if not bare:
        return "white space"
    if any(ord(letter) > 0xFF and unicodedata.category(letter)[0] in "LS" for letter in bare):
        return "rare glyph"
    if bare.isalpha() and not CODE.search(bare):
        if bare[0].isupper() and (len(bare) == 1 or bare[1:].islower()):
            return "sentence starter"
        return "word" if text[0].isspace() else "part of a word"
    if bare.isnumeric():
        return "number"
    if CODE.search(bare):
        return "code"
    return "punctuation" if not any(letter.isalnum() for letter in bare) else "code"


def vocabulary_classes(tokenizer: Any) -> list[str]:
    """The class of every token: [token]."""
    special = set(tokenizer.added_tokens_decoder)
    texts = texts_within(tokenizer, range(len(tokenizer)))
    return [token_class(text, token in special) for token, text in enumerate(texts)]


def class_enrichment(classes: Sequence[str], listed: Sequence[int]) -> Mapping[str, tuple[int, float, float]]:
    """For each class: how many of the list belong to it, how many times chance that is, and the chance of so many.

    classes: [token] of the whole vocabulary; the probability is hypergeometric and one-sided, for each class alone.
    """
    everywhere, here = Counter(classes), Counter(classes[token] for token in listed)
    return {
        name: (
            here[name],
            here[name] / (everywhere[name] * len(listed) / len(classes)),
            float(stats.hypergeom.sf(here[name] - 1, len(classes), everywhere[name], len(listed))),
        )
        for name in TOKEN_CLASSES
        if everywhere[name]
    }


def enrichment_sentence(classes: Sequence[str], listed: Sequence[int]) -> str:
    """The class that the list holds most beyond chance, as a phrase."""
    table = class_enrichment(classes, listed)
    name = min(table, key=lambda entry: table[entry][2])
    count, times, chance = table[name]
    return f"of the first {len(listed)} tokens {count} are of class {name!r}, {times:.1f} times chance (p {chance:.2g})"
