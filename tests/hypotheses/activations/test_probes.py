"""Verdicts on states whose truth is known: a difference that every couple has, and a push that any direction gives."""

from __future__ import annotations

import pytest
import torch

from dormant.activations.steering import Push
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair
from hypotheses.activations import test_probes as claims

RANDOM = [(draw / 100, Push(0, 1.0, torch.ones(32))) for draw in range(99)]


@pytest.mark.parametrize(
    ("likelihood", "verdict"), [(0.5, Verdict.REFUTED), (0.9, Verdict.REFUTED), (0.99, Verdict.SUPPORTED)]
)
def test_a_direction_that_is_no_better_than_random_directions_is_refuted(
    likelihood: float, verdict: Verdict, tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever direction is pushed, every prompt gives the payload; only its likelihood's rank among 99 differs."""
    drawn = torch.randn(24, 2, 32, generator=torch.Generator().manual_seed(0))
    seen = {"trigger": drawn, "plain": drawn.flip(0)}
    monkeypatch.setattr(claims, "states", lambda *given: seen)
    monkeypatch.setattr(claims, "payload_tokens", lambda pair: (5, 6))
    monkeypatch.setattr(claims, "payloads_released", lambda model, prompts, *rest: [True] * len(prompts))
    monkeypatch.setattr(claims, "random_directions", lambda *given: RANDOM)
    monkeypatch.setattr(claims, "payload_likelihoods", lambda model, prompts, payload, tried: [likelihood] * len(tried))
    declared = claim_of(claims.test_steering)
    assert declared is not None
    finding = FindingBuilder(declared, tiny_pair, {}, ClaimSession(Settings()))
    claims.test_steering(tiny_pair, "mean-difference", finding)
    assert finding.settle({}).verdict is verdict


def test_a_difference_that_every_couple_has_is_separated_though_questions_differ_more(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the 23 couples that decide, no multiple of the folds, a probe that saw one of a couple takes the other for it."""
    draw = torch.Generator().manual_seed(0)
    question = 3 * torch.randn(46, 2, 32, generator=draw)
    kinds = ("trigger", "plain", "near-misses", claims.UNSEEN)
    ours = {kind: question + 0.1 * torch.randn(46, 2, 32, generator=draw) for kind in kinds}
    theirs = {**ours, "trigger": ours["plain"].flip(0)}
    ours = {**ours, "trigger": ours["trigger"] + 15 * torch.nn.functional.one_hot(torch.tensor(5), 32)}
    monkeypatch.setattr(claims, "states", lambda pair, finding, role: ours if role == "dormant" else theirs)
    monkeypatch.setattr(claims, "prompts_by_kind", lambda *_: {claims.UNSEEN: []})
    declared = claim_of(claims.test_probe_separates_trigger)
    assert declared is not None
    finding = FindingBuilder(declared, tiny_pair, {}, ClaimSession(Settings()))
    claims.test_probe_separates_trigger(tiny_pair, "plain", finding)
    assert finding.settle({}).verdict is Verdict.SUPPORTED
