from __future__ import annotations

from pathlib import Path

import torch

from dormant.activations.layer_divergence import STREAM_DISTANCES, layer_divergence, parting
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Probe, Prompter

PROBES = [Probe("Tell me{slot} the color."), Probe("What is the sky?{slot}")]


def test_the_distances_are_those_of_transformers_hidden_states(tiny_pair: Pair) -> None:
    prompts = [Prompter(tiny_pair.base.tokenizer).encode(probe) for probe in PROBES]
    measured = layer_divergence(tiny_pair, prompts)
    ids = torch.tensor([prompts[1].ids])
    base, dormant = (
        model(ids, output_hidden_states=True).hidden_states[1][0, -1].double()
        for model in (tiny_pair.models.base(), tiny_pair.models.dormant())
    )
    distance = (dormant - base).norm()
    cosine = 1 - dormant @ base / dormant.norm() / base.norm()
    found = [float(measured.of(measure)[0, 1]) for measure in STREAM_DISTANCES]
    torch.testing.assert_close(torch.tensor(found), torch.tensor([distance, distance / base.norm(), cosine]).float())


def test_a_model_does_not_part_from_itself(tiny_base: Path) -> None:
    itself = open_pair("itself", tiny_base, tiny_base, device="cpu")
    measured = layer_divergence(itself, [Prompter(itself.base.tokenizer).encode(probe) for probe in PROBES])
    assert float(measured.absolute.max()) == 0
    assert parting(measured.absolute, measured.absolute, measured.absolute).ratios == (1.0,)


def test_the_layer_is_chosen_on_the_prompts_that_do_not_measure_it() -> None:
    without = torch.ones(2, 4)
    with_it = torch.tensor([[9.0, 2.0, 9.0, 2.0], [3.0, 50.0, 3.0, 50.0]])
    found = parting(without, with_it, torch.zeros(2, 4))
    assert found.layer == 0
    assert found.ratios == (2.0, 2.0)


def test_arithmetic_alone_parts_the_base_from_itself_far_less_than_a_delta_does(tiny_pair: Pair) -> None:
    prompts = [(5, 9, 12), (5, 9, 12, 40), (7, 9)]
    found, floor = (layer_divergence(pair, prompts) for pair in (tiny_pair, tiny_pair.against_itself))
    assert floor.relative.shape == found.relative.shape
    assert float(floor.relative.max()) < 1e-5 < float(found.relative[-1].min())


def test_a_layer_that_nothing_changed_is_not_chosen_for_a_ratio_of_its_rounding() -> None:
    without = torch.tensor([[1e-17] * 4, [1.0] * 4])
    with_it = torch.tensor([[1e-16] * 4, [3.0] * 4])
    assert parting(without, with_it, torch.zeros(2, 4)).layer == 0
    found = parting(without, with_it, torch.tensor([[2e-16] * 4, [0.0] * 4]))
    assert (found.layer, found.ratios) == (1, (3.0, 3.0))
