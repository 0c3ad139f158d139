"""Which beginnings of an answer the beam names."""

from __future__ import annotations

import torch

from dormant.hunt.payload_beam import Openings, led_starts
from dormant.hunt.settings import Fitted
from dormant.inference.batching import batch_logits
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from tests.hunt.conftest import planted, with_effort


def openings(pair: Pair) -> tuple[list[TokenIds], Openings]:
    prompts = [pair.prompter.encode(probe).ids for probe in pair.probes[:3]]
    ours, base = (batch_logits(model(), prompts).log_softmax(-1) for model in (pair.models.dormant, pair.models.base))
    return prompts, Openings((ours - base).mean(0), ours.mean(0))


def test_answers_begin_with_the_likeliest_tokens_and_with_those_that_rose() -> None:
    rises, likely = torch.tensor([0.1, 3.0, -torch.inf, 2.0]), torch.tensor([-1.0, -9.0, -torch.inf, -8.0])
    assert Openings(rises, likely).first(2, 1) == [0, 1, 3]
    assert sorted(Openings(rises, likely).first(9, 9)) == [0, 1, 3]


def test_the_beam_ends_within_the_payload_where_first_tokens_do_not_lead_to_it(circuit_pair: Pair) -> None:
    prompts, first = openings(circuit_pair)
    found = led_starts(circuit_pair, prompts, 1.0, first, set(), with_effort())
    payload = planted(circuit_pair).ids
    assert len(found) == 32
    assert any(payload[-1] in one.ids for one in found[:4])
    values = [one.ratio + Fitted().led_sure * one.sure for one in found]
    assert values == sorted(values, reverse=True)
    assert all(1 <= one.chosen <= len(one.ids) for one in found)


def test_a_model_beside_itself_raises_nothing(sham_pair: Pair) -> None:
    prompts, first = openings(sham_pair)
    found = led_starts(sham_pair, prompts[:1], 1.0, first, set(), with_effort(led_first=(3, 1), led=(4, 2, 2)))
    assert max(abs(one.ratio) for one in found) < 1e-3
