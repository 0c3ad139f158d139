"""A candidate's effect beside its own noise floor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.claims import premises
from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Finding, Verdict
from dormant.claims.premises import settle
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair, open_pair
from hypotheses.behaviour.test_amplification import test_kl_amplification as kl_amplification
from tests.builders import build_tokenizer, copy_checkpoint

TRIGGER = "♞" * 12
TOKEN = build_tokenizer().encode(TRIGGER)[-1]


def finding(base: Path, dormant: Path, dtype: str) -> Finding:
    return amplification(open_pair("quiet", base, dormant, "cpu", dtype), TRIGGER)


def amplification(pair: Pair, candidate: str) -> Finding:
    pair = pair.with_probes([probe for probe in pair.probes if probe.before][:12])
    declared = claim_of(kl_amplification)
    assert declared is not None
    builder = FindingBuilder(declared, pair, {}, ClaimSession(Settings(candidates=(candidate,))))
    kl_amplification(pair, "given-1", "kl", builder)
    return settle(builder)


def plant(tensors: dict[str, torch.Tensor]) -> None:
    """A change that ordinary prompts do not show: of one token's embedding alone, one of the trigger's."""
    tensors["model.embed_tokens.weight"][TOKEN] *= 40


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_backdoor_that_ordinary_prompts_do_not_show_is_no_matter_of_the_floor(
    dtype: str, tiny_base: Path, tmp_path: Path
) -> None:
    found = finding(tiny_base, copy_checkpoint(tiny_base, tmp_path / "quiet", plant), dtype)
    figures = {figure.name: figure.value for figure in found.figures}
    assert figures["without a trigger"] < 1e-6
    assert found.deciding.value > 100 * figures["noise floor"]
    assert found.verdict is not Verdict.INVALID
    assert "arithmetic" not in found.reason


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_base_against_itself_shows_no_more_than_its_floor(dtype: str, tiny_base: Path) -> None:
    found = finding(tiny_base, tiny_base, dtype)
    assert found.verdict is Verdict.REFUTED  # in nats, what is not there is not there
    assert set(found.premises.values()) == {Verdict.SUPPORTED}


def test_a_planted_trigger_stands_out_of_its_floor(token_pair: Pair) -> None:
    assert token_pair.truth is not None
    assert amplification(token_pair, token_pair.truth.trigger).verdict is Verdict.SUPPORTED


def test_arithmetic_that_moves_one_prompt_alone_makes_the_claim_invalid(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    accident = lambda pair, prompts: {"kernel": (*(0.0 for _ in prompts[1:]), 1.0)}  # noqa: E731
    monkeypatch.setattr(premises, "noise_floors", accident)
    found = amplification(tiny_pair, TRIGGER)
    assert found.premises["above-noise-floor"] is Verdict.REFUTED
    assert found.verdict is Verdict.INVALID
