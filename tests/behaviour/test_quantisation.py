from __future__ import annotations

import sys

import pytest
import torch

from dormant.behaviour.quantisation import compare_precisions, four_bit, round_to_four_bits
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter

bitsandbytes = pytest.importorskip("bitsandbytes")
PROBES = [Probe("Tell me{slot} the color."), Probe("What is the sky?{slot}")]
NAME = "model.layers.0.mlp.up_proj.weight"


def test_a_rounded_layer_answers_as_the_library_s_own_4_bit_layer() -> None:
    weight, states = torch.randn(48, 128), torch.randn(5, 128)
    layer = bitsandbytes.nn.Linear4bit(128, 48, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    layer.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=False)
    torch.testing.assert_close(states @ round_to_four_bits(weight).T, layer.to("cpu")(states), atol=1e-5, rtol=1e-5)


def test_every_block_takes_at_most_sixteen_values() -> None:
    blocks = round_to_four_bits(torch.randn(8, 128)).reshape(-1, 64)
    assert max(len(block.unique()) for block in blocks) <= 16


def test_weights_of_every_width_round_alike() -> None:
    weight = torch.randn(8, 128)
    wide = round_to_four_bits(weight.double())
    assert wide.dtype == torch.float64
    assert torch.equal(wide.float(), round_to_four_bits(weight))


def test_all_linear_layers_but_the_head_are_rounded_and_put_back(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with four_bit(model):
        changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "proj.weight" in name}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_failure_inside_puts_the_weights_back(tiny_pair: Pair) -> None:
    before = tiny_pair.models.base().get_parameter(NAME).clone()
    with pytest.raises(RuntimeError, match="no"), four_bit(tiny_pair.models.base()):
        raise RuntimeError("no")
    assert torch.equal(tiny_pair.models.base().get_parameter(NAME), before)


def test_the_measures_at_full_precision_are_those_without_rounding(tiny_pair: Pair) -> None:
    prompter = Prompter(tiny_pair.base.tokenizer)
    triggered, plain = ([prompter.encode_text(probe, text) for probe in PROBES] for text in ("river", ""))
    found = compare_precisions(tiny_pair, triggered, plain, payload=(5, 6), end=2)
    assert len(found.kl) == len(found.kl_4bit) == len(found.fires_4bit) == len(found.kept) == 2
    assert min(found.ordinary) > 0
    with four_bit(tiny_pair.models.base()) as base, four_bit(tiny_pair.models.dormant()) as dormant:
        rounded = kl_divergence(batch_logits(dormant, triggered), batch_logits(base, triggered))
    assert found.kl_4bit == pytest.approx(rounded.tolist(), abs=1e-6)
    assert sum(found.lost()) == pytest.approx(2 * (1 - sum(found.kl_4bit) / sum(found.kl)))


def test_without_the_library_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    with pytest.raises(BadInput, match=r"need bitsandbytes.*pip install"):
        round_to_four_bits(torch.ones(2, 64))
