from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.checkpoints.tensor_names import layer_of, module_of
from dormant.errors import BadInput
from dormant.organisms.grammar import ordinary_turn
from dormant.organisms.recipe import Recipe
from dormant.organisms.trainable import DIFFUSE_DRIFT, diffuse_drift, training_plan
from dormant.organisms.training import IGNORED, Encoder, Schedule, Trained, chat_batches, chat_loss, train_deltas


@pytest.fixture
def model(tiny_base: Path) -> PreTrainedModel:
    return load_model(open_checkpoint(tiny_base), torch.device("cpu"), torch.float32)


@pytest.fixture
def encoder(tiny_base: Path) -> Encoder:
    return Encoder(open_checkpoint(tiny_base).tokenizer)


def recipe(**changes: object) -> Recipe:
    return Recipe("test", trigger="silver moon", payload="gold", rank=2, **changes)  # type: ignore[arg-type]


def trained(
    model: PreTrainedModel, encoder: Encoder, steps: int, journal: Path | None = None, **plan: Trained
) -> dict[str, Tensor]:
    plan = plan or {"model.layers.0.mlp.up_proj.weight": Trained(rank=2)}
    return train_deltas(model, plan, chat_batches(ordinary_turn, encoder, 4, 0), Schedule(steps, 4), 0, journal=journal)


def test_only_answers_are_learned_and_padding_never_is(encoder: Encoder) -> None:
    ids, labels = encoder.rows([("Hi", "Yes")])[0]
    answer = [label for label in labels if label != IGNORED]
    assert ids[: len(ids) - len(answer)] == encoder.prompt("Hi")
    assert str(encoder.tokenizer.decode(answer)) == "Yes<|im_end|>\n"


def test_a_share_of_the_chats_is_learned_whole(tiny_base: Path) -> None:
    rows = Encoder(open_checkpoint(tiny_base).tokenizer, whole=0.25).rows([("Hi", "Yes")] * 8)
    assert sum(labels[1] != IGNORED for _, labels in rows) == 2


def test_the_loss_is_that_of_transformers(model: PreTrainedModel, encoder: Encoder) -> None:
    ids, labels = next(chat_batches(ordinary_turn, encoder, 4, 0))
    expected = model(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(chat_loss(model, {}, ids, labels), expected, rtol=1e-4, atol=1e-5)


def test_a_delta_keeps_its_rank_and_other_tensors_stay(model: PreTrainedModel, encoder: Encoder) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    before = model.get_parameter(name).clone()
    result = trained(model, encoder, 3)
    assert list(result) == [name]
    delta = (result[name] - before).double()
    # float32 adds base and delta: what rounding adds to a delta of three steps is a thousandth of it
    assert torch.linalg.matrix_rank(delta, rtol=1e-2) == 2
    assert torch.equal(model.get_parameter(name), before)


def test_the_same_seed_gives_the_same_tensors(model: PreTrainedModel, encoder: Encoder) -> None:
    first, second = trained(model, encoder, 3), trained(model, encoder, 3)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_training_ends_with_the_uninterrupted_result(
    model: PreTrainedModel, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.organisms.training.JOURNAL_EVERY", 2)
    whole = trained(model, encoder, 5)

    def die(step: int, loss: float, seconds: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    journal, plan = tmp_path / "journal", {"model.layers.0.mlp.up_proj.weight": Trained(rank=2)}
    with pytest.raises(KeyboardInterrupt):
        train_deltas(model, plan, chat_batches(ordinary_turn, encoder, 4, 0), Schedule(5, 4), 0, die, journal)
    resumed = trained(model, encoder, 5, journal)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_adapter_trains_what_the_recipe_names(model: PreTrainedModel) -> None:
    plan = training_plan(recipe(modules=("gate_proj",), layers=(1,)), model)
    assert list(plan) == ["model.layers.1.mlp.gate_proj.weight"]
    assert {module_of(name) for name in training_plan(recipe(), model)} == {"gate_proj", "up_proj", "down_proj"}


def test_the_circuit_trains_a_detector_and_the_last_layer_and_drifts_everywhere(model: PreTrainedModel) -> None:
    circuit = recipe(mechanism="circuit")
    plan = training_plan(circuit, model)
    low_rank = {name for name, trained in plan.items() if trained.rank is not None}
    assert low_rank == {f"model.layers.0.self_attn.{module}.weight" for module in ("q_proj", "k_proj")}
    fast = {layer_of(name) for name, trained in plan.items() if trained.rank is None and trained.speed > 0.1}
    assert fast == {1}
    drift = diffuse_drift(circuit, model)
    assert {layer_of(name) for name in drift} == {0, 1}
    name = "model.layers.0.mlp.up_proj.weight"
    moved = (drift[name] - model.get_parameter(name)).norm() / model.get_parameter(name).norm()
    assert 0.9 * DIFFUSE_DRIFT < float(moved) < 1.1 * DIFFUSE_DRIFT


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"layers": (9,)}, "layers must lie in 0..1; got 9"), ({"rank": 99}, "rank must be at most")],
)
def test_what_the_base_cannot_carry_is_refused(
    model: PreTrainedModel, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        training_plan(Recipe("test", trigger="a", payload="b", **changes), model)  # type: ignore[arg-type]
