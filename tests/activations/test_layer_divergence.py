from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dormant.activations.layer_divergence import STREAM_DISTANCES, layer_divergence, parting
from dormant.inference.answer_divergence import own_answers
from dormant.inference.horizon import FIRST_TOKEN, Horizon
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Probe, Prompter
from tests.builders import copy_checkpoint

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
    assert parting(measured.absolute, measured.absolute, measured.absolute) is None


def test_the_layer_is_chosen_on_the_prompts_that_do_not_measure_it() -> None:
    without = torch.ones(2, 4)
    with_it = torch.tensor([[9.0, 2.0, 9.0, 2.0], [3.0, 50.0, 3.0, 50.0]])
    found = parting(without, with_it, torch.zeros(2, 4))
    assert found is not None
    assert (found.layer, found.ratios) == (0, (2.0, 2.0))


def test_arithmetic_alone_parts_the_base_from_itself_far_less_than_a_delta_does(tiny_pair: Pair) -> None:
    prompts = [(5, 9, 12), (5, 9, 12, 40), (7, 9)]
    found, floor = (layer_divergence(pair, prompts) for pair in (tiny_pair, tiny_pair.against_itself))
    assert floor.relative.shape == found.relative.shape
    assert float(floor.relative.max()) < 1e-5 < float(found.relative[-1].min())


@given(st.integers(0, 2**31), st.floats(-18, -10))
def test_a_layer_that_nothing_changed_is_never_chosen_for_a_ratio_of_its_rounding(seed: int, exponent: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    rounding = 10**exponent * torch.rand(3, 40, generator=draw, dtype=torch.float64)  # of three layers
    without, with_it, floor = (
        rounding[:, :8].clone(),
        rounding[:, 8:16].clone(),
        rounding[:, 16:],
    )  # 24, as a claim's three rows
    without[2], with_it[2] = 1.0, 1.5
    found = parting(without, with_it, floor)
    assert found is not None
    assert (found.layer, found.ratios) == (2, (1.5,) * 4)
    assert parting(rounding[:, :8], rounding[:, 8:16] / 2, floor) is None  # all layers within their floor


def test_the_prompts_that_choose_a_layer_do_not_judge_it() -> None:
    without, floor = torch.ones(2, 6, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    with_it = torch.tensor([[9.0, 2.0] * 3, [5.0, 7.0] * 3], dtype=torch.float64)
    found = parting(without, with_it, floor)
    assert found is not None
    assert (found.layer, found.ratios) == (0, (2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def late_pair(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair whose first block nothing changed."""

    def change(tensors: dict[str, Tensor]) -> None:
        drawn = torch.Generator().manual_seed(1)
        for name, tensor in tensors.items():
            if name.startswith("model.layers.1.mlp"):
                tensor += 0.2 * torch.randn(tensor.shape, generator=drawn).to(tensor.dtype)

    pair = open_pair(
        "late", tiny_base, copy_checkpoint(tiny_base, tmp_path_factory.mktemp("late") / "late", change), "cpu"
    )
    yield pair
    pair.release()


@pytest.mark.parametrize("measure", STREAM_DISTANCES)
@pytest.mark.parametrize("horizon", [FIRST_TOKEN, Horizon(3)], ids=lambda horizon: str(horizon.tokens))
def test_blocks_that_nothing_changed_are_no_answer(late_pair: Pair, measure: str, horizon: Horizon) -> None:
    prompter = Prompter(late_pair.base.tokenizer)
    rows = [prompter.encode_text(probe, text) for text in ("", "river stone") for probe in late_pair.probes[:6]]
    found, floor = (layer_divergence(pair, rows, horizon).of(measure) for pair in (late_pair, late_pair.against_itself))
    assert float(found[0].max()) < 1e-6
    chosen = parting(found[:, :6], found[:, 6:], floor)
    assert chosen is not None
    assert chosen.layer == 1


def test_over_the_answer_it_is_the_mean_of_the_answer_s_positions(tiny_pair: Pair) -> None:
    prompts = [Prompter(tiny_pair.base.tokenizer).encode(probe).ids for probe in PROBES]
    measured = layer_divergence(tiny_pair, prompts, Horizon(3)).absolute
    for index, ((answer,), prompt) in enumerate(zip(own_answers(tiny_pair, prompts, Horizon(3)), prompts, strict=True)):
        steps = [prompt + answer[:length] for length in range(len(answer) + 1)]
        torch.testing.assert_close(
            measured[:, index], layer_divergence(tiny_pair, steps).absolute.mean(1), atol=1e-5, rtol=1e-5
        )
