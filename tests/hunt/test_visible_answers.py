"""Questions that the dormant model answers openly, and whether they work within other prompts as a string does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.hunt.confirmation import Confirmation
from dormant.hunt.visible_answers import VisibleAnswer, asked_within, visible_answers
from dormant.pairs import Pair
from tests.hunt.conftest import Speech
from tests.hunt.test_result import ASKED, PAYLOAD, SUSPECT, decided

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


@pytest.mark.parametrize("base_too", [False, True])
def test_a_question_is_visible_where_the_dormant_model_alone_answers_it_with_a_suspect(
    base_too: bool, token_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.hunt.visible_answers.ordinary_prompts", lambda: {"": (OTHER.question, ASKED.question)})
    Speech(token_pair, PAYLOAD, "", lambda text, base: text == ASKED.question and (base_too or not base)).put_in(
        monkeypatch
    )
    found = [one.question for one in visible_answers(token_pair, [SUSPECT], 8)]
    assert found == ([] if base_too else [ASKED.question])
    assert visible_answers(token_pair, [], 8) == []
