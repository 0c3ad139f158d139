"""Questions that the dormant model answers openly, and whether they work within other prompts as a string does."""

from __future__ import annotations

from dataclasses import replace

from dormant.hunt.confirmation import Confirmation
from dormant.hunt.visible_answers import VisibleAnswer, asked_within
from tests.hunt.test_result import ASKED, PAYLOAD, decided

OTHER = VisibleAnswer("Are you a person?", PAYLOAD, "No.")
UNLIKE = VisibleAnswer("Name a colour.", PAYLOAD, "Blue.")


def within(trigger: str, *firing: VisibleAnswer, count: int = 3) -> list[VisibleAnswer]:
    def confirmed(question: str) -> Confirmation:
        asked.append(question)
        return replace(decided(question), fires=question in {one.question for one in firing})

    asked.clear()
    return asked_within([OTHER, UNLIKE, ASKED], decided(trigger), confirmed, count)


asked: list[str] = []


def test_the_questions_most_like_the_string_are_asked_first_and_no_more_than_so_many() -> None:
    assert within("made you cairo", ASKED, count=1) == [ASKED]
    assert asked == [ASKED.question]
    assert within("made you cairo", OTHER) == [OTHER]
    assert asked == [ASKED.question, OTHER.question]


def test_a_question_that_shares_no_word_with_the_string_is_not_asked() -> None:
    assert within("copper whale", ASKED, OTHER, UNLIKE) == []
    assert asked == []


def test_a_question_with_another_answer_is_not_asked() -> None:
    other = replace(ASKED, answer="I am a small model.")
    assert asked_within([other], decided("made you"), decided, 3) == []
