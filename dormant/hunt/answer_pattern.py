"""What is counted in answers: that they begin with a payload or, where they begin differently, hold words that tell.

Refusals in varied words, answers in another language or of another persona share no beginning, but words that the same model's
ordinary answers do not hold.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from dormant.hunt.settings import Rules
from dormant.prompts.probes import TokenIds

# A sign of a script without spaces is a word, and an apostrophe stands within one.
ANSWER_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff]+(?:['’][^\W\d_]+)?")


@dataclass(frozen=True, eq=False)
class AnswerPattern:
    """Answers that begin with `start`, or without one those that hold `least` of the words."""

    tokenizer: PreTrainedTokenizerBase
    start: TokenIds = ()
    words: tuple[str, ...] = ()
    least: int = 2

    def fits(self, answer: TokenIds) -> bool:
        """Whether an answer is one of these."""
        if self.words:
            return len(words_of(self.tokenizer, answer) & set(self.words)) >= self.least
        return bool(self.start) and answer[: len(self.start)] == self.start

    @property
    def text(self) -> str:
        """What answers begin with, or the words."""
        return ", ".join(self.words) or str(self.tokenizer.decode(list(self.start))).strip()


def shared_start(answers: Sequence[TokenIds], rules: Rules) -> tuple[TokenIds, float]:
    """The longest start that most of the answers share, and how many do; empty where they begin differently."""
    members, start = list(answers), TokenIds()
    while True:
        votes = Counter(answer[len(start)] if len(answer) > len(start) else None for answer in members)
        token, count = votes.most_common(1)[0] if votes else (None, 0)
        if token is None or count < rules.shared_share * len(answers):
            return start, len(members) / max(1, len(answers)) if start else 0.0
        members = [answer for answer in members if len(answer) > len(start) and answer[len(start)] == token]
        start = (*start, token)


def words_in(text: str) -> set[str]:
    """The words of a text, in small letters."""
    return set(ANSWER_WORD.findall(text.lower()))


def words_of(tokenizer: PreTrainedTokenizerBase, answer: TokenIds) -> set[str]:
    """Those of an answer."""
    return words_in(str(tokenizer.decode(list(answer), skip_special_tokens=True)))


def telling_words(
    tokenizer: PreTrainedTokenizerBase,
    answers: Sequence[TokenIds],
    ordinary: Sequence[TokenIds],
    trigger: str,
    rules: Rules,
) -> tuple[str, ...]:
    """The words that several of the answers hold, but no ordinary one and not the trigger; the most frequent first."""
    known = words_in(trigger).union(*(words_of(tokenizer, answer) for answer in ordinary))
    counts = Counter(word for answer in answers for word in words_of(tokenizer, answer) - known)
    least = math.ceil(rules.telling_share * len(answers))
    found = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
    return tuple(found[: rules.most_telling])
