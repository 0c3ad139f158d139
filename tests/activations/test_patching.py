from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dormant.activations.patching import (
    Restorations,
    component_scales,
    decided_after,
    head_scales,
    patch_activations,
    restore,
)
from dormant.catalogue import known_pairs
from dormant.errors import BadInput
from dormant.inference.answer_divergence import divergences, own_answers
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.divergence import kl_divergence
from dormant.inference.horizon import Horizon
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompt, Prompter, alike_probes

PROBES = [Probe("Tell me{slot} the color."), Probe("What is the sky?{slot}"), Probe("{slot} Repeat the words")]


@pytest.fixture(scope="module")
def circuit() -> Iterator[Pair]:
    opened = known_pairs()["circuit"].open(device="cpu")
    yield opened
    opened.release()


def written(pair: Pair, text: str, probes: list[Probe] | None = None) -> list[Prompt]:
    prompter = Prompter(pair.base.tokenizer)
    return [prompter.encode_text(probe, text) for probe in probes or PROBES]


def test_a_model_restored_whole_has_no_effect_left(tiny_pair: Pair) -> None:
    found = restore(tiny_pair, written(tiny_pair, "river"), {(0, "all"): block_scales(tiny_pair, 0)})
    assert min(found.whole) > 1e-3
    assert max(found.left[0, "all"]) < 1e-9
    assert sum(found.lost((0, "all"))) == pytest.approx(len(PROBES))


def test_over_the_answer_what_is_left_is_along_what_the_dormant_model_said(tiny_pair: Pair) -> None:
    asked, scales = written(tiny_pair, "river"), block_scales(tiny_pair, 0, layers=[0])
    found = restore(tiny_pair, asked, {(0, "block"): scales}, Horizon(3))
    assert found.whole == pytest.approx(divergences(tiny_pair, asked, asked, Horizon(3))[0]["kl"], abs=1e-6)
    answers = [answer for (answer,) in own_answers(tiny_pair, [prompt.ids for prompt in asked], Horizon(3))]
    with patched_weights(tiny_pair, scales) as model:
        for index, (prompt, answer) in enumerate(zip(asked, answers, strict=True)):
            rows = [[*prompt.ids, *answer[:length]] for length in range(len(answer) + 1)]
            left = kl_divergence(batch_logits(model, rows), batch_logits(tiny_pair.models.base(), rows))
            assert found.left[0, "block"][index] == pytest.approx(float(left.sum()), abs=1e-5)


def test_a_component_whose_share_is_rounding_is_no_answer() -> None:
    found = Restorations((2e-9, 1e-9), {(0, "block"): (1e-9, 0.0), (1, "block"): (2e-9, 1e-9)})
    assert found.largest([1e-12, 1e-12]) == (0, "block")
    assert found.largest([1e-9, 3e-9]) is None
    assert Restorations((1.0,), {}).largest([0.0]) is None


def test_the_units_of_a_kind_are_those_that_the_fine_tune_changed(tiny_pair: Pair) -> None:
    modules = {(layer, module) for layer in (0, 1) for module in ("gate_proj", "up_proj", "down_proj")} | {
        (0, "q_proj")
    }
    assert set(component_scales(tiny_pair, "block")) == {(0, "block"), (1, "block")}
    assert set(component_scales(tiny_pair, "module")) == modules
    assert set(component_scales(tiny_pair, "head")) == {(0, f"head {head}") for head in range(4)}


def test_all_heads_restored_one_inside_the_other_are_the_base_s_projection(tiny_pair: Pair) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    together = torch.stack([torch.as_tensor(head_scales(tiny_pair, 0, head)[name]) for head in range(4)]).prod(0)
    with patched_weights(tiny_pair, {name: together}) as model:
        assert torch.equal(model.get_parameter(name), tiny_pair.base.tensor(name).float())


def test_a_state_put_into_the_last_layer_gives_the_other_prompt_s_answer(tiny_pair: Pair) -> None:
    triggered, plain = written(tiny_pair, "river stone"), written(tiny_pair, "")
    left = patch_activations(tiny_pair, triggered, plain)
    answers = batch_logits(tiny_pair.models.dormant(), plain)
    expected = kl_divergence(answers, batch_logits(tiny_pair.models.base(), triggered))
    torch.testing.assert_close(left[-1], expected, atol=1e-4, rtol=1e-4)


def test_the_planted_layers_of_the_circuit_stand_out(circuit: Pair) -> None:
    assert circuit.truth is not None
    triggered = written(
        circuit, circuit.truth.trigger, [*alike_probes(Prompter(circuit.base.tokenizer), circuit.probes, 8)]
    )
    blocks = restore(circuit, triggered, component_scales(circuit, "block")).shares()
    assert {layer for layer, _ in list(blocks)[:2]} == {0, 5}
    modules = restore(circuit, triggered, component_scales(circuit, "module")).shares()
    assert set(list(modules)[:2]) == {(0, "q_proj"), (0, "k_proj")}


@pytest.mark.parametrize(("carried", "layer"), [([0.0, 0.6, 1.0], 1), ([0.9], 0), ([0.1, 0.2], 1)])
def test_the_deciding_layer_is_the_first_that_carries_half(carried: list[float], layer: int) -> None:
    assert decided_after(carried) == layer


def test_unknown_units_and_heads_are_named(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="a component is one of block, module, head; got 'neuron'"):
        component_scales(tiny_pair, "neuron")
    with pytest.raises(BadInput, match=r"a head must lie in 0\.\.3; got 4"):
        head_scales(tiny_pair, 0, 4)
