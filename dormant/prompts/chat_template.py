"""A conversation as a tokenizer's chat template writes it, the same on every day."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from transformers import PreTrainedTokenizerBase

TODAY = re.compile(r"strftime_now\((['\"])(?P<format>.*?)\1\)")
DAY = datetime(2024, 7, 26)  # what Llama 3.1's template writes where it is told none


def render_chat(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]], generation_prompt: bool) -> str:
    """A conversation as the tokenizer's chat template writes it, without thinking where the template can leave that out.

    Templates of multimodal models may take a text for a list of parts and write nothing of it: they are given such lists.
    Where a template writes the day, it is always the same one, or figures would change overnight.
    """
    template = str(tokenizer.chat_template)
    options: dict[str, Any] = {"enable_thinking": False} if "enable_thinking" in template else {}
    if "strftime_now" in template:
        options["chat_template"] = TODAY.sub(lambda asked: repr(DAY.strftime(asked["format"])), template)

    def written(messages: list[dict[str, Any]]) -> str:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation_prompt, **options)
        )

    text, last = written([dict(turn) for turn in turns]), turns[-1]["content"].strip()
    if last in text:
        return text
    try:
        listed = written([{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns])
    except Exception:  # a template is a program: one that trims its text fails on a list, say
        return text
    return listed if last in listed else text
