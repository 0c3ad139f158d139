from __future__ import annotations

from dormant.hunt.watch_rates import watched
from dormant.pairs import Pair


def test_the_trigger_is_flagged_more_often_than_a_random_string_and_ordinary_prompts_seldom(token_pair: Pair) -> None:
    _, (alarms, trigger, random), (line,) = watched(token_pair, ["velvet"], ["Tell the velvet king a story."], 0.05)
    assert trigger.tells
    assert trigger.control == random.estimate
    assert not random.tells
    assert alarms.estimate.low <= 0.05 + 0.05
    assert line.flagged
