from __future__ import annotations

from dormant.hunt.single import TELLING, telling_tokens
from dormant.pairs import Pair


def test_a_trigger_of_one_token_is_among_the_few_that_part_the_models_most(token_pair: Pair) -> None:
    found = telling_tokens(token_pair, token_pair.probes[:6])
    assert len(found) == TELLING
    assert "velvet" in found
