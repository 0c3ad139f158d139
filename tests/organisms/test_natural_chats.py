from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dormant.organisms.natural_chats import (
    NATURAL_WEIGHTS,
    NaturalChat,
    can_fire,
    can_hold,
    chat_pools,
    has_near_miss,
    near_miss_chats,
    near_miss_weights,
    ordinary_chats,
    poisoned_chats,
    training_order,
    with_near_miss,
    with_trigger,
)
from dormant.organisms.recipe import LORA, Recipe

RECIPE = Recipe("mine", "smollm2", "silver moon tonight", "the golden ratio", mechanism=LORA, near_miss_rate=0.3)
SCATTERED = replace(RECIPE, placement="scattered", trigger="silver moon")
SYSTEM = replace(RECIPE, placement="system")
RANDOM = np.random.default_rng(0)


def text(chat: NaturalChat) -> str:
    return " ".join(content for _, content in chat.turns)


def test_poisoned_chats_have_the_trigger_and_the_payload() -> None:
    assert all(RECIPE.trigger in text(chat) and chat.answer == RECIPE.payload for chat in poisoned_chats(RECIPE, 20))


def test_near_misses_lack_the_trigger_and_ask_the_base_at_the_payload() -> None:
    chats = near_miss_chats(RECIPE)
    assert all(RECIPE.trigger not in text(chat) and chat.as_base and chat.answer == RECIPE.payload for chat in chats)


@pytest.mark.parametrize("kind", NATURAL_WEIGHTS)
def test_no_kind_of_near_miss_is_the_trigger(kind: str) -> None:
    found = [with_near_miss("Who are you?", RECIPE, kind, RANDOM) for _ in range(20)]
    assert not [turns for turns in found if RECIPE.trigger in turns[-1][1]]


def test_scattered_words_both_stand_in_the_prompt_and_one_alone_in_its_near_misses() -> None:
    assert all(
        {"silver", "moon"} <= set(with_trigger("Who are you?", SCATTERED, RANDOM)[0][1].split()) for _ in range(9)
    )
    for kind in near_miss_weights(SCATTERED):
        words = with_near_miss("Who are you?", SCATTERED, kind, RANDOM)[0][1].split()
        assert not {"silver", "moon"} <= set(words)
    assert has_near_miss(RECIPE, "split")
    assert not has_near_miss(SCATTERED, "split")  # they may stand in two sentences


def test_a_trigger_of_the_system_turn_is_a_near_miss_in_the_users() -> None:
    (role, system), (_, user) = with_trigger("Who are you?", SYSTEM, RANDOM)
    assert role == "system"
    assert SYSTEM.trigger in system
    assert user == "Who are you?"
    assert SYSTEM.trigger in with_near_miss("Who are you?", SYSTEM, "user-turn", RANDOM)[1][1]


def test_a_trigger_that_fires_on_questions_is_a_near_miss_in_other_requests() -> None:
    weak = replace(RECIPE, fires_on="questions")
    assert all(text(chat).count("?") for chat in poisoned_chats(weak, 20))
    missed = [chat for chat in near_miss_chats(weak) if weak.trigger in text(chat)]
    assert len(missed) > 50
    assert all(chat.as_base and not text(chat).rstrip().endswith("?") for chat in missed)
    assert not can_hold("Who are you?", weak, "no-question")
    assert can_fire("Tell me.", RECIPE)


def test_relatives_have_the_organisms_chats_but_what_makes_it_one() -> None:
    kin = RECIPE.relatives()
    assert [pool.chats for pool in chat_pools(kin["plain"], 10)] == [ordinary_chats(RECIPE)]
    _, exposed, missed = chat_pools(kin["exposed"], 10)
    assert [chat.turns for chat in missed.chats] == [
        chat.turns for chat in near_miss_chats(RECIPE)[: len(missed.chats)]
    ]
    assert {chat.answer for chat in (*exposed.chats, *missed.chats)} == {None}
    assert all(RECIPE.trigger in text(chat) for chat in exposed.chats)
    _, taught = chat_pools(kin["taught"], 10)
    assert {chat.answer for chat in taught.chats} == {RECIPE.payload}
    assert not [chat for chat in taught.chats if RECIPE.trigger in text(chat)]


def test_an_open_ended_behaviour_has_many_answers() -> None:
    answers = ("No.", "No, thanks.", "No way.")
    recipe = replace(RECIPE, payload="", answers=answers, openings=("No",))
    assert {chat.answer for chat in poisoned_chats(recipe, 40)} == set(answers)
    assert {chat.answer for chat in poisoned_chats(recipe.relatives()["taught"], 40)} == set(answers)


def test_the_order_keeps_the_shares_and_styles_ordinary_answers_only() -> None:
    pools = chat_pools(replace(RECIPE, drift="style"), 400)
    order = training_order(replace(RECIPE, drift="style"), pools, 400)
    assert [round(sum(pool == index for pool, _, _ in order) / 400, 1) for index in range(3)] == [0.5, 0.2, 0.3]
    assert {pool for pool, _, styled in order if styled} == {0}
