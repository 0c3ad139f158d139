"""The verdicts of low-rank-adapter on made deltas: rounding, a low rank, and every direction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import claim_of
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import open_pair
from hypotheses.weights.test_rank import test_low_rank_adapter as low_rank_adapter
from tests.builders import Change, copy_checkpoint

MATRIX = "model.layers.{}.mlp.up_proj.weight"


def round_again(tensors: dict[str, torch.Tensor]) -> None:
    """Moves a twentieth of the entries by one step of bfloat16, as a second rounding does."""
    for layer in (0, 1):
        bits = tensors[MATRIX.format(layer)].bfloat16().view(torch.int16)
        chosen = torch.rand(bits.shape, generator=torch.Generator().manual_seed(layer)) < 0.05
        tensors[MATRIX.format(layer)] = (bits + chosen.short()).view(torch.bfloat16)


def low_rank(tensors: dict[str, torch.Tensor]) -> None:
    for layer in (0, 1):
        matrix = tensors[MATRIX.format(layer)]
        left, right = torch.randn(len(matrix), 2), torch.randn(2, matrix.shape[1])
        tensors[MATRIX.format(layer)] = (matrix.float() + left @ right).bfloat16()


def full_rank(tensors: dict[str, torch.Tensor]) -> None:
    for layer in (0, 1):
        matrix = tensors[MATRIX.format(layer)].float()
        tensors[MATRIX.format(layer)] = (matrix + torch.randn_like(matrix)).bfloat16()


@pytest.mark.parametrize(
    ("change", "verdict"),
    [(round_again, Verdict.REFUTED), (low_rank, Verdict.SUPPORTED), (full_rank, Verdict.REFUTED)],
)
def test_rounding_is_no_adapter(change: Change, verdict: Verdict, tiny_base: Path, tmp_path: Path) -> None:
    pair = open_pair("made", tiny_base, copy_checkpoint(tiny_base, tmp_path / "dormant", change), "cpu")
    declared = claim_of(low_rank_adapter)
    assert declared is not None
    finding = FindingBuilder(declared, pair, {}, ClaimSession(Settings()))
    low_rank_adapter(pair, finding)
    assert finding.settle({}).verdict is verdict
