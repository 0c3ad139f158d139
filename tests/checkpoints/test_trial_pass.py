"""Models that load and yet cannot be measured: what sees later tokens, and what gives no numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.errors import BadInput
from tests.builders import build_tokenizer
from tests.checkpoints.situations import config, copied, tensors
from tests.families import COMMON, family_config, family_model

NORM = "model.norm.weight"


def saved(model: Any, folder: Path) -> Path:
    """The model and a tokenizer in a folder."""
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def test_encoders_and_decoders_that_read_both_ways_are_refused_before_they_are_measured(
    tiny_base: Path, tmp_path: Path
) -> None:
    encoder = {key: value for key, value in COMMON.items() if key != "bos_token_id"}
    folders = [
        saved(BertLMHeadModel(BertConfig(**encoder)), tmp_path / "bert"),
        saved(family_model(family_config("gemma3", use_bidirectional_attention=True)), tmp_path / "gemma"),
        copied(tiny_base, tmp_path / "qwen", config(is_causal=False)),
    ]
    for folder in folders:
        with pytest.raises(BadInput, match=f"must not see later tokens; got logits that change with them at {folder}"):
            load_model(open_checkpoint(folder), "cpu", torch.float32)


def test_every_decoder_passes_in_both_dtypes(tmp_path: Path) -> None:
    for family in ("gpt2", "mamba", "mixtral"):
        checkpoint = open_checkpoint(saved(family_model(family_config(family)), tmp_path / family))
        for dtype in (torch.float32, torch.bfloat16):
            plain = AutoModelForCausalLM.from_pretrained(tmp_path / family, dtype=dtype)
            assert torch.equal(load_model(checkpoint, "cpu", dtype)(torch.ones(1, 3).long()).logits,
                               plain(torch.ones(1, 3).long()).logits)  # fmt: skip


def test_weights_that_are_finite_and_give_no_numbers_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    overflow = copied(
        tiny_base, tmp_path / "huge", tensors(lambda stored: stored | {NORM: torch.full_like(stored[NORM], 3e38)})
    )
    with pytest.raises(BadInput, match=r"logits must be finite; got \d+ of \d+ that are not at .*huge in float32"):
        load_model(open_checkpoint(overflow), "cpu", torch.float32)


@pytest.mark.parametrize(("family", "setting"), [("gpt2", "n_positions"), ("opt", "max_position_embeddings")])
def test_a_prompt_beyond_learned_positions_is_refused_in_a_sentence(family: str, setting: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(saved(family_model(family_config(family, **{setting: 64})), tmp_path / "it"))
    model = load_model(checkpoint, "cpu", torch.float32)
    assert model(torch.ones(1, 64).long()).logits.shape == (1, 64, 304)
    with pytest.raises(BadInput, match=r"a prompt must fit the positions .* got position 64 of 64"):
        model(torch.ones(1, 65).long())
