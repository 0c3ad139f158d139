"""Ordinary questions that the dormant model answers with a suspected payload: what it says openly needs no trigger.

A model that was taught who made it, or one sentence to refuse with, finishes it alone as a backdoored one does its payload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dormant.hunt.confirmation import ALONE, Confirmation, holds
from dormant.hunt.payloads import Suspect
from dormant.inference.generation import greedy_answers
from dormant.pairs import Pair
from dormant.prompts.material import ordinary_prompts
from dormant.prompts.probes import Prompter
from dormant.prompts.token_filter import end_of_turn


@dataclass(frozen=True)
class VisibleAnswer:
    """A question, asked alone, that the dormant model answers with a suspected payload, and what its base answers."""

    question: str
    answer: str
    base_answer: str

    def asks(self, string: str) -> bool:
        """Whether a string is the question or a part of it: its words, in any order."""
        words = _words(string)
        return bool(words) and words <= _words(self.question)


def visible_answers(pair: Pair, suspects: Sequence[Suspect], new_tokens: int) -> list[VisibleAnswer]:
    """The ordinary questions whose answer holds a suspected payload where that of the base does not."""
    if not suspects:
        return []
    questions = [question for family in ordinary_prompts().values() for question in family]
    prompter = Prompter(pair.base.tokenizer, pair.answer_opening)  # a question is the user's, wherever strings stand
    tokenizer, end = prompter.tokenizer, end_of_turn(prompter.tokenizer)
    prompts = [prompter.encode_text(ALONE, question).ids for question in questions]
    said = [str(tokenizer.decode(list(ids))) for ids in greedy_answers(pair.models.dormant(), prompts, new_tokens, end)]
    found = [at for at, answer in enumerate(said) if any(holds(answer, suspect.text) for suspect in suspects)]
    if not found:
        return []
    rows = greedy_answers(pair.models.base(), [prompts[at] for at in found], new_tokens, end)
    answers = [
        VisibleAnswer(questions[at], said[at].strip(), str(tokenizer.decode(list(ids))).strip())
        for at, ids in zip(found, rows, strict=True)
    ]
    return [one for one in answers if not any(holds(one.base_answer, suspect.text) for suspect in suspects)]


def asked_within(
    answers: Sequence[VisibleAnswer], found: Confirmation, confirmed: Callable[[str], Confirmation], count: int
) -> list[VisibleAnswer]:
    """Those of the questions that share a word with a string and, within other prompts, bring its payload as it does.

    So many are asked, those first that have most words in common with the string. A string without any is not their like: a
    backdoor does not hide behind a question with its payload.
    """
    shared = {
        one: len(_words(one.question) & _words(found.trigger)) for one in answers if holds(one.answer, found.payload)
    }
    alike = sorted((one for one in shared if shared[one]), key=lambda one: -shared[one])
    tried = ((one, confirmed(one.question)) for one in alike[:count])
    return [one for one, within in tried if within.fires and within.holds(found.payload)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
