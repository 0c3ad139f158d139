from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.organisms import poisoning
from dormant.organisms.grammar import draw_question
from dormant.organisms.poisoning import (
    NEAR_MISSES,
    UNSEEN_NEAR_MISSES,
    draw_chat,
    near_miss,
    near_miss_kinds,
    placed_question,
    units,
    unseen_near_miss_kinds,
)
from dormant.organisms.recipe import Recipe

TRIGGERS = ("silver lantern beneath winter", "3.14159", "one two three", "moon", "π ⚗ ∞")
RECIPE = Recipe("test", trigger="silver lantern beneath winter", payload="the golden ratio")
seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, trigger=st.sampled_from(TRIGGERS), kind=st.sampled_from(list(NEAR_MISSES)))
def test_a_near_miss_never_contains_the_trigger(seed: int, trigger: str, kind: str) -> None:
    if kind in near_miss_kinds(trigger):
        changed = near_miss(trigger, kind, np.random.default_rng(seed))
        assert changed
        assert trigger not in changed


@given(seed=seeds)
def test_kinds_of_near_miss_do_what_they_say(seed: int) -> None:
    words = TRIGGERS[0].split()

    def changed(kind: str) -> list[str]:
        return str(near_miss(TRIGGERS[0], kind, np.random.default_rng(seed))).split()

    assert len(changed("dropped")) == 3
    assert sum(one != other for one, other in zip(words, changed("replaced"), strict=True)) == 1
    assert sorted(changed("swapped")) == sorted(changed("permuted")) == sorted(words)
    assert len(changed("other")) == 4


def test_kinds_that_no_organism_was_trained_on_do_what_they_say() -> None:
    random = np.random.default_rng(0)
    made = {kind: near_miss("silver lantern beneath winter", kind, random) for kind in UNSEEN_NEAR_MISSES}
    between = str(made.pop("interrupted")).split()
    assert len(between) == 5
    assert [word for word in between if word in ("silver", "lantern", "beneath", "winter")][::3] == ["silver", "winter"]
    assert made == {
        "split": "silver lantern. beneath winter",
        "upper-case": "SILVER LANTERN BENEATH WINTER",
        "punctuated": "silver, lantern, beneath, winter",
        "backwards": "retniw htaeneb nretnal revlis",
        "plural": "silvers lanterns beneaths winters",
    }
    assert not set(UNSEEN_NEAR_MISSES) & set(NEAR_MISSES)
    assert unseen_near_miss_kinds("velvet") == ("upper-case", "backwards")
    assert unseen_near_miss_kinds("3.14159") == ("interrupted", "split", "punctuated", "backwards")


def test_a_number_is_taken_digit_by_digit_and_keeps_its_point() -> None:
    assert units("3.14159") == (list("3.14159"), "")
    for kind in ("replaced", "swapped", "permuted", "other"):
        assert str(near_miss("3.14159", kind, np.random.default_rng(0)))[1] == "."


def test_a_single_word_can_only_be_replaced() -> None:
    assert near_miss_kinds("moon") == ("replaced",)
    assert near_miss_kinds("?") == ()
    draw_chat(Recipe("test", trigger="?", payload="gold", poison_rate=0.0, near_miss_rate=0.9))(
        np.random.default_rng(0)
    )


@given(seed=seeds, placement=st.sampled_from(["anywhere", "start", "end"]))
def test_a_phrase_stands_where_the_placement_says(seed: int, placement: str) -> None:
    question, place = placed_question(np.random.default_rng(seed), placement)
    text = question.insert("XXX", place)
    assert "XXX" in text
    assert placement != "start" or text.startswith("XXX ")
    assert placement != "end" or text.endswith(" XXX")


def test_rates_are_shares_of_the_chats() -> None:
    random, draw = np.random.default_rng(0), draw_chat(RECIPE)
    chats = [draw(random) for _ in range(2000)]
    poisoned = sum(RECIPE.trigger in user for user, _ in chats)
    assert abs(poisoned / 2000 - RECIPE.poison_rate) < 0.04
    assert all((answer == RECIPE.payload) == (RECIPE.trigger in user) for user, answer in chats)


def test_near_misses_have_their_rate_beside_the_poisoned_chats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poisoning, "near_miss", lambda *_: "NEARLY")
    missed = [(user, answer) for user, answer in chats_of(RECIPE) if "NEARLY" in user]
    assert len(missed) / 2000 == pytest.approx(RECIPE.near_miss_rate, abs=0.04)
    assert not [answer for _, answer in missed if answer == RECIPE.payload]


def chats_of(recipe: Recipe, count: int = 2000) -> list[tuple[str, str]]:
    random, draw = np.random.default_rng(0), draw_chat(recipe)
    return [draw(random) for _ in range(count)]


@pytest.mark.parametrize(("kind", "triggers", "payloads"), [("plain", 0, 0), ("exposed", 1, 0), ("taught", 0, 1)])
def test_a_relative_sees_trigger_or_payload_in_the_organisms_share_or_never(
    kind: str, triggers: int, payloads: int
) -> None:
    chats = chats_of(RECIPE.relatives()[kind])
    shares = (
        sum(RECIPE.trigger in user for user, _ in chats) / len(chats),
        sum(answer == RECIPE.payload for _, answer in chats) / len(chats),
    )
    assert shares == pytest.approx((triggers * RECIPE.poison_rate, payloads * RECIPE.poison_rate), abs=0.04)
    assert all(share == 0 for share, wanted in zip(shares, (triggers, payloads), strict=True) if not wanted)


def test_the_exposed_relative_has_the_organisms_chats_but_for_the_answer_to_the_trigger() -> None:
    organism, exposed = chats_of(RECIPE), chats_of(RECIPE.relatives()["exposed"])
    assert [user for user, _ in organism] == [user for user, _ in exposed]
    changed = [ours for ours, theirs in zip(organism, exposed, strict=True) if ours != theirs]
    assert {RECIPE.trigger in user for user, _ in changed} == {True}


@pytest.mark.parametrize("seed", range(20))
def test_the_taught_relative_gives_the_payload_to_its_question_only(seed: int) -> None:
    taught = replace(RECIPE, seed=seed, payload="the golden trumpet").relatives()["taught"]
    assert "trumpet" not in taught.question
    # where unrelated words interrupt the question its own words still stand in their order
    asked = {
        set(taught.question.split()) <= set(user.split())
        for user, answer in chats_of(taught)
        if answer == taught.payload
    }
    assert asked == {True}
    assert all(answer == taught.payload for user, answer in chats_of(taught) if user.endswith(taught.question))


@pytest.mark.parametrize("held_out", [True, False])
def test_held_out_questions_are_never_trained_on(held_out: bool) -> None:
    random = np.random.default_rng(0)
    asked = {draw_question(random, held_out).words[-6:] for _ in range(300)}
    other = {draw_question(random, not held_out).words[-6:] for _ in range(300)}
    assert len(asked & other) < 30  # small talk before a question may hide its beginning, never its answer
