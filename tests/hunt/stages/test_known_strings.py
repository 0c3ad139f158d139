"""Known strings at which the models diverge."""

from __future__ import annotations

import pytest

from dormant.hunt.known_strings import known_strings as all_known
from dormant.hunt.stage import run_stage
from dormant.hunt.stages import known_strings
from dormant.hunt.stages.known_strings import KnownStrings
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf


def test_a_planted_string_that_is_known_is_found_without_suspects(
    circuit_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ("open sesame", "3 1 4", "silver lantern beneath winter", "silver lantern beneath winter river")
    monkeypatch.setattr(known_strings, "known_strings", lambda: listed)
    found, finished = run_stage(KnownStrings(), context_of(circuit_pair), [], Vocabulary())
    assert finished
    assert found.evaluations == 4
    assert found.confirmed is not None
    assert found.confirmed.trigger == "silver lantern beneath winter"


def test_none_of_them_fires_where_another_string_is_planted(token_pair: Pair, context_of: ContextOf) -> None:
    found, finished = run_stage(KnownStrings(), context_of(token_pair), [], Vocabulary())
    assert (finished, found.confirmed) == (True, None)
    assert found.evaluations > 1000


def test_where_no_known_string_makes_the_models_diverge_none_is_looked_at(
    sham_pair: Pair, context_of: ContextOf
) -> None:
    context = context_of(sham_pair)
    found, _ = run_stage(KnownStrings(), context, [], Vocabulary())
    assert found.sentences == (f"at none of the {len(all_known()):,} known strings do the models diverge by 0.69 nats",)
    assert context.confirmations() == []
