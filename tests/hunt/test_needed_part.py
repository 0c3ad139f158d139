from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dormant.hunt.needed_part import needed_part
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, Speech

STRING = "silver lantern beneath winter"
SHORT = HuntSettings()
SHORT = replace(SHORT, effort=replace(SHORT.effort, answer_tokens=8))


def has(text: str, *words: str) -> int:
    return sum(word in text.split() for word in words)


@pytest.mark.parametrize(
    ("fires", "named", "topic"),
    [
        (lambda text: has(text, *STRING.split()) >= 3, "lantern beneath winter", False),
        (lambda text: has(text, "silver", "winter") == 2, "silver winter", False),
        (lambda text: has(text, *STRING.split()) == 4, STRING, False),
        (lambda text: has(text, *STRING.split()) >= 2, STRING, True),
        (lambda text: has(text, *STRING.split()) >= 1, STRING, True),
    ],
    ids=["any three of four", "two that are planted", "all four", "either half", "any word"],
)
def test_a_string_with_a_word_too_many_gives_way_to_the_part_that_suffices_and_a_topic_does_not(
    fires: Callable[[str], bool],
    named: str,
    topic: bool,
    token_pair: Pair,
    context_of: ContextOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    payload = "golden owl under silver moon"
    Speech(token_pair, payload, STRING, lambda text, base: not base and fires(text)).put_in(monkeypatch)
    context = context_of(token_pair, SHORT)
    found = needed_part(context, context.decided(context.confirmed(STRING)))
    assert found.confirmed
    assert (found.trigger, found.is_topic(SHORT.rules)) == (named, topic)
