from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.hunt.confirmation import Confirmation, Rate
from dormant.hunt.context import HuntContext
from dormant.hunt.near_strings import near_strings
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair
from dormant.statistics import proportion_interval
from tests.hunt.conftest import ContextOf, Speech

PAYLOAD = "golden owl under silver moon"
SHORT = HuntSettings()
SHORT = replace(SHORT, effort=replace(SHORT.effort, answer_tokens=8))


def look(trigger: str, fired: int, tokens: int = 6) -> Confirmation:
    rates = (Rate("start", proportion_interval(0, 10)), Rate("end", proportion_interval(fired, 10)))
    return Confirmation(trigger, PAYLOAD, rates, (), (), None, tokens, fires=fired >= 8, confirmed=fired >= 8)


def test_a_string_is_near_that_brings_one_payload_on_half_of_the_prompts_and_is_no_trigger(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [look("a word", 7, tokens=1), look("fires", 9), look("near", 5), look("nearer", 7), look("far", 4)]
    monkeypatch.setattr(HuntContext, "confirmations", lambda _: looks)
    assert [one.trigger for one in near_strings(context_of(token_pair))] == ["nearer", "near"]


def test_a_string_that_fresh_prompts_refuted_is_near(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    Speech(token_pair, PAYLOAD, "orchard", lambda text, base: not base and "orchard" in text).put_in(monkeypatch)
    context = context_of(token_pair, SHORT)
    assert context.confirmed("orchard").confirmed
    assert near_strings(context) == []
    context.refuted.add("orchard")
    assert [one.trigger for one in near_strings(context)] == ["orchard"]
