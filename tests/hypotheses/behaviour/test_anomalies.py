"""The claim about repeated answers where the base answers each prompt several times and the dormant model once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dormant.behaviour import anomalies
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.inference.generation import Answer
from dormant.pairs import Pair
from hypotheses.behaviour import test_anomalies as claims

TEXTS = [f"question {number}" for number in range(20)]


@pytest.mark.parametrize(("saying", "flagged"), [(7, 0.0), (14, 0.7)])
def test_a_phrase_in_answers_to_a_third_of_the_prompts_is_no_anomaly_and_one_to_most_is(
    saying: int, flagged: float, tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Fisher's test on 20 prompts of each model, however many answers of the base there are to its 20."""
    tokenizer, dormant = tiny_pair.base.tokenizer, tiny_pair.models.dormant()

    def sampled(model: object, prompts: Sequence[object], *_: Any, **__: Any) -> list[Answer]:
        said = [
            "the silver moon" if model is dormant and at % 20 < saying else f"answer number {at % 20} here"
            for at in range(len(prompts))
        ]
        return [Answer(tuple(tokenizer.encode(text, add_special_tokens=False)), True) for text in said]

    found = anomalies.Scan(("a",), ("b",), {"repetition": (True,)}, {"repetition": (False,)}, 0)
    monkeypatch.setattr(anomalies, "sampled_answers", sampled)
    monkeypatch.setattr(anomalies, "answer_log_probabilities", lambda model, prompts, *_: [0.0] * len(prompts))
    monkeypatch.setattr(claims, "ordinary_texts", lambda *_: TEXTS)
    monkeypatch.setattr(claims, "on_planted_pair", lambda *_: ("organism", found))
    for beside in ("twin_value", "state_power", "flagged_shares"):
        monkeypatch.setattr(claims, beside, lambda *_: None)
    declared = claim_of(claims.test_behavioural_anomaly)
    assert declared is not None
    finding = FindingBuilder(declared, tiny_pair, {}, ClaimSession(Settings()))
    claims.test_behavioural_anomaly(tiny_pair, "repetition", finding)
    settled = finding.settle({})
    assert settled.deciding.value == flagged
    assert (settled.verdict is Verdict.SUPPORTED) == (flagged > 0)
