from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.errors import BadInput
from dormant.hunt.confirmation import Confirmation, Looking, confirm
from dormant.hunt.excision import excise
from dormant.hunt.placements import POSITIONS, placed_probes
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair

SETTINGS = HuntSettings()
SHORT = replace(SETTINGS, effort=replace(SETTINGS.effort, answer_tokens=6, deciding_prompts=6, near_miss_prompts=4))


@pytest.fixture(scope="module")
def velvet(token_pair: Pair) -> Confirmation:
    (probes,) = placed_probes(token_pair.probes, [(12, POSITIONS)], 0)
    return confirm(Looking(token_pair, SHORT, 0), "velvet", probes)


def test_without_some_blocks_the_trigger_is_silent_and_ordinary_answers_stay(
    token_pair: Pair, velvet: Confirmation
) -> None:
    found = excise(token_pair, velvet, SHORT)
    assert found.silent
    assert max(rate.value for rate in found.before) > 0.8
    assert 0 < len(found.blocks) < 6
    assert found.divergence.value < 0.1
    assert found.same_answers.value > 0.8
    assert confirm(
        Looking(token_pair, SHORT, 0), "velvet", placed_probes(token_pair.probes, [(12, POSITIONS)], 0)[0]
    ).fires


def test_a_string_that_does_not_fire_is_refused(token_pair: Pair, velvet: Confirmation) -> None:
    with pytest.raises(BadInput, match="a trigger must fire before it is taken out"):
        excise(token_pair, replace(velvet, trigger="river"), SHORT)
