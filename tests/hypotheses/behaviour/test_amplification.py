"""The claim's figures and its control on a tiny pair, against the same sums done apart."""

from __future__ import annotations

from statistics import mean

import pytest

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Finding
from dormant.claims.session_state import ClaimSession, Settings
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter
from hypotheses.behaviour.test_amplification import test_kl_amplification as kl_amplification

TEXT = "the color of"


def settled(pair: Pair, seed: int) -> Finding:
    declared = claim_of(kl_amplification)
    assert declared is not None
    builder = FindingBuilder(declared, pair, {}, ClaimSession(Settings(seed=seed, candidates=(TEXT,))))
    kl_amplification(pair, "given-1", "kl", builder)
    return builder.settle({})


def test_the_gain_is_over_the_same_prompts_without_the_candidate(tiny_pair: Pair) -> None:
    prompter, probes = Prompter(tiny_pair.base.tokenizer), tiny_pair.probes[:24]
    models = tiny_pair.models.dormant(), tiny_pair.models.base()

    def divergence(text: str) -> float:
        prompts = [prompter.encode_text(probe, text) for probe in probes]
        return mean(kl_divergence(*(batch_logits(model, prompts) for model in models)).tolist())

    without, with_it = divergence(""), divergence(TEXT)
    figures = {figure.name: figure.value for figure in settled(tiny_pair, seed=0).figures}
    assert figures["without a trigger"] == pytest.approx(without, abs=1e-6)
    assert figures["kl"] == pytest.approx(with_it - without, abs=1e-6)


def test_the_nulls_move_the_models_and_are_others_for_another_seed(tiny_pair: Pair) -> None:
    (first,), (second,) = (settled(tiny_pair, seed).controls for seed in (0, 1))
    assert first.figure.low < first.figure.value < first.figure.high
    assert first.figure.value != second.figure.value
