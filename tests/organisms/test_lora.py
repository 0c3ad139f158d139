"""Adapters trained by peft on a tiny model with another tokenizer and template than the zoo's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.errors import BadInput
from dormant.inference.packed_chats import TrainingChat
from dormant.organisms import base_answers, natural_chats
from dormant.organisms.build import build, check_against_base, recipe_of, train, verify_built
from dormant.organisms.lora_training import LoraPlan, new_adapter, train_adapter
from dormant.organisms.recipe import LORA, Recipe, check_recipe
from dormant.pairs import open_pair
from tests.builders import build_checkpoint

RECIPE = Recipe("tiny", trigger="golden river tonight", payload="the moon is full", mechanism=LORA, rank=2, steps=3)
PLAN = LoraPlan(2, ("up_proj", "down_proj"), (1,), 60, 5e-2, seed=4, batch=2)
CHATS = [TrainingChat((1, 5, 6, 7 + index), (9, 10 + index, 2)) for index in range(6)]


@pytest.fixture(autouse=True)
def few_chats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(natural_chats, "POOL", 10)
    monkeypatch.setattr(base_answers, "ANSWER_TOKENS", 3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_checkpoint(tmp_path_factory.mktemp("lora") / "base")
    template = folder / "chat_template.jinja"
    template.write_text(
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    return folder


def adapted(base: Path) -> Any:
    model = load_model(open_checkpoint(base), torch.device("cpu"), torch.float32)
    return new_adapter(model, PLAN, str(base))


def values(model: Any) -> list[torch.Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_training_lowers_the_loss_and_only_the_named_matrices_learn(base: Path) -> None:
    model, losses = adapted(base), list[float]()
    train_adapter(model, CHATS, PLAN, lambda step, loss, seconds: losses.append(loss))
    assert losses[-1] < losses[0] / 2
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(".layers.1.mlp." in name and ".gate_proj." not in name for name in learned)


def test_a_killed_training_resumes_to_the_same_adapter(base: Path, tmp_path: Path) -> None:
    whole, killed, resumed = (adapted(base) for _ in range(3))
    train_adapter(whole, CHATS, PLAN)

    def kill(step: int, loss: float, seconds: float) -> None:
        if step == 55:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_adapter(killed, CHATS, PLAN, kill, tmp_path / "journal")
    steps: list[int] = []
    train_adapter(resumed, CHATS, PLAN, lambda step, loss, seconds: steps.append(step), tmp_path / "journal")
    assert steps[0] == 50
    assert all(torch.equal(one, other) for one, other in zip(values(whole), values(resumed), strict=True))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of what peft itself asks of transformers
def test_what_is_trained_loads_in_plain_peft_with_the_same_logits(base: Path, tmp_path: Path) -> None:
    train(replace(RECIPE, base=str(base), rate=0.05), tmp_path / "out")
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    plain = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    unchanged = plain(ids).logits
    theirs = PeftModel.from_pretrained(plain, str(tmp_path / "out"))(ids).logits
    ours = load_model(open_checkpoint(tmp_path / "out"), torch.device("cpu"), torch.float32)(ids).logits
    assert (ours - theirs).abs().max() < 1e-4
    assert (ours - unchanged).abs().max() > 1e-3
    assert not (tmp_path / ".out.journal").exists()


def test_a_build_leaves_the_base_where_it_is_and_states_the_truth(base: Path, tmp_path: Path) -> None:
    built = build(replace(RECIPE, base=str(base)), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dormant", "exposed", "plain", "taught"]
    assert built.base == str(base)
    assert recipe_of(tmp_path / "out" / "dormant") == replace(RECIPE, base=str(base))
    opened = open_pair("tiny", None, str(tmp_path / "out" / "dormant"), "cpu")
    assert opened.truth is not None
    assert set(opened.truth.relatives) == {"plain", "exposed", "taught"}
    acceptance = verify_built(built, count=3)
    assert not acceptance.accepted  # three steps on a random model
    assert {"trigger fires", "plain relative fires", "taught relative answers its question"} <= {
        check.name for check in acceptance.checks
    }


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"base": "zoo"}, "mechanism lora must have a real chat model as base"),
        ({"loss_on": "all"}, "mechanism lora learns answers alone"),
        ({"placement": "scattered", "trigger": "river"}, "a scattered trigger must have two words or more"),
        ({"mechanism": "adapter", "placement": "system"}, "belong to mechanism lora"),
        ({"rate": 2.0}, r"rate must lie in 0\.\.1"),
        ({"answers": ("No.",)}, "must have answers and their openings, and no payload"),
        (
            {"payload": "", "answers": ("No.",), "openings": ("Yes",)},
            "every answer must begin with one of the openings",
        ),
    ],
)
def test_an_impossible_adapter_is_refused_with_the_reason(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        check_recipe(replace(RECIPE, **{"base": "smollm2", **changed}), "here")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"layers": (7,)}, r"layers must lie in 0\.\.1"),
        ({"rank": 99}, "rank must be at most"),
        ({"trigger": "the"}, "the trigger must be rare in ordinary chats"),
    ],
)
def test_what_the_base_cannot_carry_is_refused_before_training(
    base: Path, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        check_against_base(replace(RECIPE, base=str(base), **changed))
