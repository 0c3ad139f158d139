"""What counts as a word, and how an answer can begin: by how common words are in English."""

from __future__ import annotations

import re
from typing import Any

from dormant.errors import BadInput

KNOWN = 3.0  # on the Zipf scale of word frequency, once in a million words: below are mostly pieces of words
CUT = "\N{REPLACEMENT CHARACTER}"  # what a part of a character is decoded to
GOING_ON = ".,:;!?)]}"  # signs that stand behind something


def common_words(count: int) -> list[str]:
    """English's most common words of letters alone."""
    return [word for word in _wordfreq().top_n_list("en", count) if word.isalpha()]


def is_word(text: str) -> bool:
    """Whether the text is one word, and common enough to be no piece of another."""
    return text.isalpha() and (len(text) > 1 or text in "aAI") and _wordfreq().zipf_frequency(text, "en") >= KNOWN


def begins_an_answer(text: str) -> bool:
    """Whether an answer can begin so: with a sign or a known word, neither behind a space nor in the midst of something."""
    if not text or text[0].isspace() or text[0] in CUT + GOING_ON:
        return False
    letters = re.match(r"[^\W\d_]+", text)
    return letters is None or is_word(letters[0])


def _wordfreq() -> Any:
    try:
        import wordfreq
    except ImportError as error:
        raise BadInput(
            "a hunt needs the package wordfreq for the words that triggers are made of; got none in this environment; "
            "install it with `pip install wordfreq`"
        ) from error
    return wordfreq
