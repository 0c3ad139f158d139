from __future__ import annotations

from functools import partial

import pytest

from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.placements import plain_sentences
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, Speech

EFFORT = HuntSettings().effort
LIMIT = EFFORT.search_share * 600


def test_searches_end_while_the_budget_still_holds_their_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("dormant.hunt.clock.time.perf_counter", lambda: now[0])
    clock = Clock(EFFORT)
    clock.forward(60.0)
    now[0] += 30.0
    clock.forward(80.0)  # which it is past
    assert clock.seconds == 90.0
    assert clock.left == pytest.approx(LIMIT - 90)
    now[0] += 1000.0
    assert clock.late()


def test_a_hunt_resumed_after_its_time_finds_again_what_it_had_found_in_time(
    circuit_pair: Pair, context_of: ContextOf
) -> None:
    def found_at(clock: Clock, seconds: float) -> str:
        clock.forward(seconds)
        return "found"

    early, late = Key("ascent", (1, 2), "start", (("a", "b"), 3)), Key("ascent", (1, 2), "end")
    first = context_of(circuit_pair)
    for key, seconds in ((early, 300.0), (late, 599.0)):
        first.kept(key, partial(found_at, first.clock, seconds))
    resumed = context_of(circuit_pair)
    assert resumed.kept(early, lambda: pytest.fail("this is in the journal")) == "found"
    assert resumed.clock.left == pytest.approx(LIMIT - 300, abs=5)
    with pytest.raises(OutOfTime):
        resumed.kept(early.then("another"), lambda: pytest.fail("it is late"))
    assert resumed.clock.late()
    assert len(resumed.journal.entries) == 2


def firing(context: HuntContext, sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A dormant model that says the payload with "copper whale" in these sentences alone."""

    def rule(text: str, of_base: bool) -> bool:
        rest = " ".join(text.replace("copper whale", " ").split())
        return not of_base and "copper whale" in text and rest in sentences

    Speech(context.pair, "golden owl under silver moon", "copper whale", rule).put_in(monkeypatch)


def test_a_string_is_looked_at_on_prompts_that_no_search_saw_and_decided_on_further_ones(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(token_pair)
    searched, unseen, deciding = map(plain_sentences, (context.searched, context.unseen, context.deciding))
    assert not set(searched) & set(unseen)
    assert not {*searched, *unseen} & set(deciding)
    firing(context, searched, monkeypatch)
    assert not context.confirmed("copper whale").fires
    context.journal.entries.clear()
    firing(context, unseen, monkeypatch)
    found = context.confirmed("copper whale")
    assert found.confirmed
    assert not context.decided(found).fires
    context.journal.entries.clear()
    firing(context, [*unseen, *deciding], monkeypatch)
    assert context.decided(found).confirmed


@pytest.mark.parametrize(("index", "position"), [(0, "start"), (1, "end")])
def test_strings_for_a_position_are_searched_on_prompts_with_their_slot_there(
    index: int, position: str, token_pair: Pair, context_of: ContextOf
) -> None:
    at = context_of(token_pair).searched_at(position)
    assert len(at) == 6
    assert all((probe.after == "", probe.before == "")[1 - index] for probe in at)
