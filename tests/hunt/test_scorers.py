from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.hunt.placements import placed_probes
from dormant.hunt.scorers import DivergenceScorer, PayloadScorer, capped, log_odds, open_shortest_first
from dormant.pairs import Pair


@given(st.floats(-30, 0))
def test_log_odds_are_the_likelihood_where_it_is_small_and_a_share_of_what_lies_above_a_cap(likelihood: float) -> None:
    odds = log_odds(torch.tensor(likelihood, dtype=torch.float64))
    assert float(capped(odds, 3.0, 0.1)) <= 3.0 + 0.1 * (14 - 3.0)
    if likelihood < -10:
        assert float(odds) == pytest.approx(likelihood, abs=1e-4)


def test_a_planted_trigger_scores_above_another_string_by_payload_and_by_divergence(circuit_pair: Pair) -> None:
    assert circuit_pair.truth is not None
    payload = tuple(circuit_pair.base.tokenizer.encode(circuit_pair.truth.payload, add_special_tokens=False))
    (probes,) = placed_probes(circuit_pair.probes, [(3, ["start"])], 0)
    texts = [circuit_pair.truth.trigger, "paper violin stone"]
    scorer = PayloadScorer(circuit_pair, open_shortest_first(circuit_pair, probes), payload, "start")
    planted, other = scorer.log_odds(texts).mean(0).tolist()
    assert planted > 0 > other
    assert scorer.log_odds_per_token(texts).mean(0)[1] > other  # a mean over tokens is larger than their product
    divergence = DivergenceScorer(circuit_pair, probes, "start", 8.0)
    planted, other = divergence.mean(texts).tolist()
    assert 8.0 >= planted > other
    assert planted > 1 + divergence.plain()


def test_tokens_that_may_stand_first_add_up_before_what_follows(circuit_pair: Pair) -> None:
    own, other, *rest = circuit_pair.base.tokenizer.encode(" owl river under silver", add_special_tokens=False)
    (probes,) = placed_probes(circuit_pair.probes, [(2, ["start"])], 0)
    prompts = open_shortest_first(circuit_pair, probes)

    def nats(payload: tuple[int, ...], firsts: tuple[int, ...] = ()) -> torch.Tensor:
        return PayloadScorer(circuit_pair, prompts, payload, "start", firsts).log_likelihood(["velvet", "paper violin"])

    either = torch.logaddexp(nats((own,)), nats((other,)))
    whole = nats((own, *rest)) - nats((own,)) + either
    torch.testing.assert_close(nats((own, *rest), (own, other)), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(nats((own, *rest), (own,)), nats((own, *rest)), rtol=0, atol=0)


def test_what_strings_are_changes_of_moves_no_value(circuit_pair: Pair) -> None:
    payload = tuple(circuit_pair.base.tokenizer.encode("we march at midnight", add_special_tokens=False))
    (probes,) = placed_probes(circuit_pair.probes, [(2, ["start"])], 0)
    scorer = PayloadScorer(circuit_pair, open_shortest_first(circuit_pair, probes), payload, "start")
    words = "river velvet color silver marble owl thunder winter spoon honey lion feather".split()
    for incumbent in ("silver lantern beneath winter", "paper candle violin stone"):
        changed = [f"{incumbent.rpartition(' ')[0]} {word}" for word in words]
        found = scorer.log_likelihood(changed, incumbent)
        torch.testing.assert_close(found, scorer.log_likelihood(changed), atol=1e-4, rtol=1e-4)
