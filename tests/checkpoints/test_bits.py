"""Weights in 8 and 4 bits: transformers' and bitsandbytes' own logits, with the noise floor stated, or one true sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from typer.testing import CliRunner

from dormant.checkpoints import bits, memory
from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.cli import app
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.evaluator import Evaluator
from dormant.pairs import open_pair
from tests.builders import build_adapter, build_checkpoint, tiny_config

pytest.importorskip("bitsandbytes")
ROWS = [(5, 9, 100, 7), (3, 250, 8, 60), (1, 2, 40, 41)]
ASKED = {
    "8bit": BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0),
    "4bit": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base whose matrices fill blocks of 64, and an adapter."""
    place = tmp_path_factory.mktemp("bits")
    config = tiny_config(hidden_size=64, intermediate_size=128, max_position_embeddings=2048)
    base = build_checkpoint(place / "base", config)
    build_adapter(place / "adapter", base, r=4, target_modules=["q_proj", "up_proj"])
    return base, place / "adapter"


@pytest.mark.parametrize("residency", ["both", "shared", "swap"])
@pytest.mark.parametrize("precision", ASKED)
def test_a_pair_in_bits_gives_the_logits_of_bitsandbytes_whatever_the_company(
    precision: str, residency: str, folders: tuple[Path, Path]
) -> None:
    base, adapter = folders
    plain = AutoModelForCausalLM.from_pretrained(
        base, quantization_config=ASKED[precision], dtype=torch.bfloat16, device_map={"": "cpu"}
    )
    pair = open_pair("bits", base, adapter, "cpu", precision, residency)
    assert {bits.precision_of(model) for model in (plain, pair.models.base(), pair.models.dormant())} == {precision}
    bits.keep_gradients(plain)
    expected = batch_logits(plain, ROWS)
    assert torch.equal(batch_logits(pair.models.base(), ROWS), expected)
    assert torch.equal(torch.cat([batch_logits(pair.models.base(), [row]) for row in ROWS]), expected)
    moved = (batch_logits(pair.models.dormant(), ROWS) - expected).abs().max()
    assert moved > 0.05
    held = sum(parameter.nbytes for parameter in pair.models.base().parameters())
    alone = memory.needed_bytes(pair.base, pair.base, torch.bfloat16, "swap", int(precision[0]))
    assert residency == "shared" or held <= alone < 1.06 * held  # the scales of 4 bits are no parameters


@pytest.mark.parametrize("precision", ASKED)
def test_candidates_have_values_and_gradients_in_bits(precision: str, folders: tuple[Path, Path]) -> None:
    pair = open_pair("bits", *folders, "cpu", precision, "shared")
    evaluator = Evaluator(pair.models, [pair.prompter.open(probe) for probe in pair.probes[:2]])
    assert evaluator.evaluate([(40, 41), (90, 91)]).isfinite().all()
    gradient = evaluator.gradient([(40, 41)])
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_a_command_states_how_far_its_bits_move_the_base(folders: tuple[Path, Path]) -> None:
    options = "--prompts 2 --positions 2 --device cpu --dtype 4bit".split()
    done = CliRunner().invoke(app, ["profile", "--dormant", str(folders[1]), *options], catch_exceptions=False)
    assert done.exit_code in (0, 1)
    assert "in 4 bits the base alone lies 0." in " ".join(done.output.split())


def test_what_bits_cannot_do_is_refused_in_a_sentence(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = open_pair("bits", *folders, "cpu", "8bit")
    with pytest.raises(BadInput, match="a delta is scaled in full weights; got weights in 8 bits"):
        patched_weights(pair, block_scales(pair, 2.0)).__enter__()
    with pytest.raises(BadInput, match="must run on cpu or cuda, the devices of bitsandbytes; got mps"):
        bits.check_bits(8, torch.device("mps"))
    monkeypatch.setattr(bits, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="need bitsandbytes and accelerate; got no such package"):
        open_pair("bits", *folders, "cpu", "4bit")
    with pytest.raises(BadInput, match="one of float32, bfloat16, 8bit, 4bit; got '2bit'"):
        open_pair("bits", *folders, "cpu", "2bit")


def test_a_pair_in_bits_takes_less_memory_than_in_bfloat16(folders: tuple[Path, Path]) -> None:
    base = open_checkpoint(folders[0])
    whole = memory.needed_bytes(base, base, torch.bfloat16, "both")
    assert memory.needed_bytes(base, base, torch.bfloat16, "both", 8) < 0.7 * whole
    assert memory.needed_bytes(base, base, torch.bfloat16, "both", 4) < 0.55 * whole
