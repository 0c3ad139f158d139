"""Ids of a text within a prompt, of tokenizers that put a space before a text of its own (SentencePiece, Llama 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

SPACE_MARKS = (
    "\N{LOWER ONE EIGHTH BLOCK}",
    "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}",
)  # SentencePiece, byte-level BPE


def marks_starts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer puts a space before a text that has none."""
    first = tokenizer.encode("x", add_special_tokens=False)[:1]
    return "".join(tokenizer.convert_ids_to_tokens(first)).startswith(SPACE_MARKS)  # some tokenizers know no x


def ids_behind(tokenizer: PreTrainedTokenizerBase, before: str, text: str) -> tuple[int, ...]:
    """The ids of a text that stands behind another, where no space is put before it."""
    if text and marks_starts(tokenizer):
        for context in (before, "\n"):  # the first may grow together with the text
            first, whole = (
                tuple(tokenizer.encode(part, add_special_tokens=False)) for part in (context, context + text)
            )
            if whole[: len(first)] == first:
                return whole[len(first) :]
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def texts_within(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """Each token's text as it stands within a sentence: at a text's start such tokenizers drop its first space."""
    anchor = tokenizer.encode("x", add_special_tokens=False) if marks_starts(tokenizer) else []
    options: dict[str, Any] = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    shown = len(str(tokenizer.decode(anchor, **options)))
    return [str(tokenizer.decode([*anchor, token], **options))[shown:] for token in ids]


def encoded_within(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text as it stands within a sentence, where no space is put before it."""
    before = "\n" if marks_starts(tokenizer) else ""  # grows together with no word
    first = tokenizer.encode(before, add_special_tokens=False)
    rows = tokenizer([before + text for text in texts], add_special_tokens=False)["input_ids"]
    return [list(row[len(first) :]) if list(row[: len(first)]) == first else [] for row in rows]


def words_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """The ids of a text in the middle of a sentence, set off by one space; no chat template is needed."""
    bare = text.lstrip(" ")
    return ids_behind(tokenizer, "word", f" {bare}" if bare else "")
