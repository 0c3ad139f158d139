"""Which ids a search may use, and which id ends an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput, NotServed
from dormant.prompts.space_marks import encoded_within, texts_within

TEXT_CLASSES: Mapping[str, Callable[[str], bool]] = {
    "printable": lambda text: True,
    "ascii": str.isascii,
    "words": lambda text: text.startswith(" ") and text[1:].isalpha(),
    "letters": lambda text: text.strip().isalpha(),
    "digits": lambda text: text.strip().isdigit(),
}

_ALLOWED: WeakKeyDictionary[PreTrainedTokenizerBase, dict[Any, Tensor]] = WeakKeyDictionary()


def allowed_tokens(tokenizer: PreTrainedTokenizerBase, kind: str = "printable") -> Tensor:
    """The ids that a search may use: printable, neither special nor added, and kept when decoded and encoded within a text.

    `kind` narrows them: ascii, letters, digits, or words (a space, then letters). Raises BadInput for another kind, and
    where no id is left.
    """
    if kind not in TEXT_CLASSES:
        raise BadInput(
            f"a class of tokens is one of {', '.join(TEXT_CLASSES)}; got {kind!r} at the token filter; name one of them"
        )
    known, key = _ALLOWED.setdefault(tokenizer, {}), (kind, len(tokenizer), *tokenizer.added_tokens_decoder)
    if key not in known:  # a tokenizer changes by added tokens alone
        known[key] = _allowed(tokenizer, kind)
    return known[key].clone()


def _allowed(tokenizer: PreTrainedTokenizerBase, kind: str) -> Tensor:
    ids = [token for token in range(len(tokenizer)) if token not in tokenizer.added_tokens_decoder]
    texts = texts_within(tokenizer, ids)
    chosen = [
        token
        for token, text, back in zip(ids, texts, encoded_within(tokenizer, texts), strict=True)
        if text.strip() and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text and back == [token]
        if TEXT_CLASSES[kind](text)
    ]
    if not chosen:
        raise NotServed(
            f"a search needs allowed tokens; got none of class {kind} among {len(ids)} at tokenizer "
            f"{tokenizer.name_or_path!r}; allow another class"
        )
    return torch.tensor(chosen, dtype=torch.long)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that ends an answer. Raises NotServed for a tokenizer that names none."""
    end = tokenizer.eos_token_id
    if not isinstance(end, int):
        raise NotServed(
            f"a tokenizer must name the token that ends an answer; got none at {tokenizer.name_or_path!r}; "
            "add eos_token to its tokenizer_config.json"
        )
    return end
