"""A payload that begins as the base's answer does: nothing at the first token, and all of it over the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Finding, Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.inference.batching import batch_logits
from dormant.inference.candidate_effects import CandidateEffect, candidate_effect
from dormant.inference.horizon import Horizon
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Probe
from hypotheses.behaviour import test_amplification
from hypotheses.behaviour.test_amplification import test_kl_amplification as kl_amplification
from tests.builders import copy_checkpoint

TRIGGER = "river river stone"


@pytest.fixture(scope="module")
def late(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The base, but for one token's input embedding: that with which it answers the trigger, and nothing else, by itself."""
    plain = open_pair("plain", tiny_base, tiny_base, "cpu")
    prompter, model = plain.prompter, plain.models.base()
    with_it, without = (
        batch_logits(model, [prompter.encode_text(probe, text) for probe in plain.probes]).argmax(-1).tolist()
        for text in (TRIGGER, "")
    )
    (token, _), *_ = Counter(with_it).most_common()
    fitting = [
        probe
        for probe, said, otherwise in zip(plain.probes, with_it, without, strict=True)
        if said == token != otherwise
    ]

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"][token] *= -40

    folder = copy_checkpoint(tiny_base, tmp_path_factory.mktemp("late") / "late", change)
    pair = open_pair("late", tiny_base, folder, "cpu").with_probes(fitting[:12])
    yield pair
    pair.release()
    plain.release()


def finding(pair: Pair, metric: str) -> Finding:
    declared = claim_of(kl_amplification)
    assert declared is not None
    builder = FindingBuilder(declared, pair, {}, ClaimSession(Settings(candidates=(TRIGGER,))))
    kl_amplification(pair, "given-1", metric, builder)
    return builder.settle({})


def test_the_first_token_is_blind_and_the_answer_is_not(late: Pair) -> None:
    assert len(late.probes) >= 4
    first, answer = finding(late, "kl"), finding(late, "answer-kl")
    assert first.figures[0].value == pytest.approx(0, abs=1e-9)
    assert (first.verdict, answer.verdict) == (Verdict.REFUTED, Verdict.SUPPORTED)
    assert first.plan["horizon"] == "first token of the answer"
    assert answer.plan["horizon"] == "first 8 tokens of the dormant model's greedy answer"


def test_random_tokens_that_do_the_same_keep_it_from_holding(late: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control could fail: where it is given the trigger itself, the claim no longer holds.

    Refuted or inconclusive: rounding, with another number of threads, says which of two equal figures is larger.
    """

    def same(
        pair: Pair, probes: Sequence[Probe], length: int, count: int, seed: int, horizon: Horizon
    ) -> list[CandidateEffect]:
        return [candidate_effect(pair, probes, TRIGGER, horizon)] * count

    monkeypatch.setattr(test_amplification, "length_matched_nulls", same)
    found = finding(late, "answer-kl")
    assert found.verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE)
    assert "length-matched nulls" in found.reason
