"""The divergence objective against plain forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM

from dormant.checkpoints import open_checkpoint
from dormant.divergence import js_divergence, kl_divergence
from dormant.errors import BadInput
from dormant.models import Models, Placement
from dormant.prompts import OpenPrompt, Probe, Prompter, batch_logits
from dormant.search import DivergenceObjective
from tests.builders import build_tokenizer


@dataclass(frozen=True, eq=False)
class Resident:
    """Two models that are always there."""

    models: tuple[Qwen2ForCausalLM, Qwen2ForCausalLM]

    def base(self) -> Qwen2ForCausalLM:
        return self.models[0]

    def dormant(self) -> Qwen2ForCausalLM:
        return self.models[1]


PROBES = tuple(
    map(Probe, ["Tell me{slot} the color of the sky.", "{slot} What is the capital?", "Repeat the words{slot}"])
)


@pytest.fixture(scope="module")
def models(tiny_base: Path, tiny_dormant: Path) -> Resident:
    loaded = [Qwen2ForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (tiny_base, tiny_dormant)]
    return Resident((loaded[0].requires_grad_(False).eval(), loaded[1].requires_grad_(False).eval()))


@pytest.fixture(scope="module")
def prompts() -> list[OpenPrompt]:
    return [Prompter(build_tokenizer()).open(probe) for probe in PROBES]


@pytest.fixture
def objective(models: Resident, prompts: list[OpenPrompt]) -> DivergenceObjective:
    return DivergenceObjective(models, prompts)


def candidates(n: int, length: int = 3) -> Tensor:
    return torch.randint(3, 300, (n, length), generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize(("metric", "divergence"), [("kl", kl_divergence), ("js", js_divergence)])
def test_shared_prefixes_give_the_values_of_whole_prompts(
    metric: str, divergence: Callable[[Tensor, Tensor], Tensor], models: Resident, prompts: list[OpenPrompt]
) -> None:
    ids = candidates(5)
    values = DivergenceObjective(models, prompts, metric).per_probe(ids)
    for column, prompt in enumerate(prompts):
        whole = [prompt.close(tuple(row)) for row in ids.tolist()]
        base, dormant = (batch_logits(model, whole, batch_size=1) for model in models.models)
        torch.testing.assert_close(values[:, column], divergence(dormant, base), atol=1e-4, rtol=1e-4)


def test_a_batch_evaluates_as_each_candidate_alone(models: Resident, prompts: list[OpenPrompt]) -> None:
    ids = candidates(7)
    together = DivergenceObjective(models, prompts).evaluate(ids)
    alone = torch.cat([DivergenceObjective(models, prompts, batch_size=1).evaluate(row[None]) for row in ids])
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_no_candidate_is_evaluated_twice(objective: DivergenceObjective) -> None:
    ids = candidates(4)
    first = objective.evaluate(ids[[0, 1, 0, 2, 1]])
    again = objective.evaluate(ids)
    assert objective.evaluations == 4
    assert torch.equal(first[[0, 1, 3]], again[:3])


def test_the_gradient_is_the_slope_through_both_embeddings(models: Resident, prompts: list[OpenPrompt]) -> None:
    """Moving a little way from one token's embeddings to another's changes the objective as the gradient says."""
    base, dormant = (Qwen2ForCausalLM(model.config).double().eval() for model in models.models)
    for copy, model in zip((base, dormant), models.models, strict=True):
        copy.load_state_dict(model.state_dict())
    ids, place, step = candidates(1)[0], 1, 1e-2  # norms compute in float32: a smaller step drowns in rounding
    slope = DivergenceObjective(Resident((base, dormant)), prompts).gradient(ids)
    token = int(slope[place].argmax())

    def moved(distance: float) -> float:
        # An unused row of both embeddings takes the part of the moved token.
        for model in (base, dormant):
            table = model.get_input_embeddings().weight.data
            table[303] = table[ids[place]] + distance * table[token]
        probe = ids.clone()
        probe[place] = 303
        return float(DivergenceObjective(Resident((base, dormant)), prompts).evaluate(probe[None]))

    assert slope.shape == (3, 304)
    assert float(slope[place, token]) == pytest.approx((moved(step) - moved(-step)) / (2 * step), rel=1e-2)


def test_a_model_against_itself_parts_nowhere(models: Resident, prompts: list[OpenPrompt]) -> None:
    sham = DivergenceObjective(Resident((models.base(), models.base())), prompts)
    assert (sham.evaluate(candidates(4)) == 0).all()


def test_the_empty_row_is_that_of_the_ordinary_sentences(models: Resident, prompts: list[OpenPrompt]) -> None:
    plain = [prompt.plain for prompt in prompts]
    base, dormant = (batch_logits(model, plain, batch_size=1) for model in models.models)
    torch.testing.assert_close(DivergenceObjective(models, prompts).empty(), kl_divergence(dormant, base).mean())


def test_one_model_at_a_time_on_the_device_gives_the_same(
    tiny_base: Path, tiny_dormant: Path, models: Resident, prompts: list[OpenPrompt]
) -> None:
    placement = Placement(torch.device("cpu"), torch.float32, "swap")
    swapping = Models(open_checkpoint(tiny_base), open_checkpoint(tiny_dormant), placement)
    by_turns, together, ids = (
        DivergenceObjective(swapping, prompts),
        DivergenceObjective(models, prompts),
        candidates(3),
    )
    torch.testing.assert_close(by_turns.per_probe(ids), together.per_probe(ids), atol=1e-4, rtol=0)
    torch.testing.assert_close(by_turns.gradient(ids[0]), together.gradient(ids[0]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ids", [[[304]], [[]], [1, 2], [[0.5]]], ids=["large", "empty", "flat", "real"])
def test_candidates_that_are_no_ids_are_refused(ids: list[object], objective: DivergenceObjective) -> None:
    with pytest.raises(BadInput, match="from 0 to 303"):
        objective.evaluate(torch.tensor(ids))


def test_an_objective_needs_probes_and_a_known_metric(models: Resident, prompts: list[OpenPrompt]) -> None:
    with pytest.raises(BadInput, match="got 0 probes"):
        DivergenceObjective(models, [])
    with pytest.raises(BadInput, match="one of kl, js"):
        DivergenceObjective(models, prompts, "l2")
