"""The tokens that a fine-tune's strongest changes read or write, beside random directions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.weights.measure import compare_checkpoints
from dormant.weights.report_file import read_delta_report, write_delta_report
from dormant.weights.token_lens import token_inputs, token_outputs
from tests.builders import copy_checkpoint

TOKEN = 77
GATE, DOWN = (f"model.layers.1.mlp.{module}.weight" for module in ("gate_proj", "down_proj"))


@pytest.fixture(scope="module")
def dormant(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gate that reads one token as its embedding, and a down projection that writes it."""
    base = open_checkpoint(tiny_base)
    read = torch.cat(list(token_inputs(base, 1, "gate_proj").blocks()))[TOKEN]
    written = torch.cat(list(token_outputs(base).blocks()))[TOKEN]

    def plant(tensors: dict[str, torch.Tensor]) -> None:
        tensors[GATE] = (tensors[GATE].float() + read / read.norm()).bfloat16()
        tensors[DOWN] = (tensors[DOWN].float() + (written / written.norm())[:, None]).bfloat16()

    return copy_checkpoint(tiny_base, tmp_path_factory.mktemp("pointed") / "dormant", plant)


def test_planted_tokens_stand_first_and_beyond_chance_and_survive_the_file(
    tiny_base: Path, dormant: Path, tmp_path: Path
) -> None:
    report = compare_checkpoints(tiny_base, dormant)
    lists = {(listed.module, listed.lens): listed for listed in report.tokens}
    assert set(lists) == {("gate_proj", "embedding"), ("gate_proj", "head"), ("down_proj", "logits")}
    for planted in (lists["gate_proj", "embedding"], lists["down_proj", "logits"]):
        assert (planted.ids[0], planted.layers) == (TOKEN, (1,))
        assert planted.beyond >= 1
        assert list(planted.scores) == sorted(planted.scores, reverse=True)
    write_delta_report(report, tmp_path / "report.json")
    assert read_delta_report(tmp_path / "report.json") == report


def test_a_model_without_a_tokenizer_is_compared_all_the_same(tiny_base: Path, dormant: Path, tmp_path: Path) -> None:
    bare = copy_checkpoint(dormant, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    report = compare_checkpoints(tiny_base, bare)
    assert len(report.modified) == 2
    assert report.tokens == ()
    assert "no tokens are listed: a checkpoint must hold a tokenizer" in report.note


def test_nothing_changed_names_no_tokens(tiny_base: Path) -> None:
    report = compare_checkpoints(tiny_base, tiny_base)
    assert (report.tokens, report.note) == ((), "")
