from __future__ import annotations

from dormant.hunt.placements import SEARCH_PLACES, placed_probes
from dormant.hunt.stages.short_strings import TELLING, telling_strings, telling_tokens
from dormant.hunt.vocabulary import Unit
from dormant.pairs import Pair


def test_a_trigger_of_one_token_is_among_the_few_that_part_the_models_most(token_pair: Pair) -> None:
    found = telling_tokens(token_pair, token_pair.probes[:6])
    assert len(found) == TELLING
    assert "velvet" in found


def test_of_all_orders_of_hinted_words_the_planted_one_parts_the_models_most(circuit_pair: Pair) -> None:
    (probes,) = placed_probes(circuit_pair.probes, [(12, SEARCH_PLACES)], 0)
    words = "winter color silver beneath paper lantern".split()
    found = telling_strings(circuit_pair, probes, [Unit(f" {word}", 1.0, 0.0) for word in words])
    assert len(found) == TELLING
    assert found[0] == "silver lantern beneath winter"
