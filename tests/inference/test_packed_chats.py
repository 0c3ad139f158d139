from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from dormant.inference.generation import NO_END, greedy_answers
from dormant.inference.packed_chats import (
    TrainingChat,
    can_pack,
    head_logits,
    pack,
    packed_greedy,
    packed_loss,
    with_base_states,
)
from tests.families import family_config, family_model

CHATS = [
    TrainingChat((1, 5, 6, 7, 8), (9, 10, 2)),
    TrainingChat((1, 5, 6, 11), (12, 2)),
    TrainingChat((1, 5, 6, 7, 9, 20, 21), (30, 31, 32, 2)),
]


def model(family: str) -> PreTrainedModel:
    return family_model(family_config(family))


def naive_loss(asked: PreTrainedModel, chats: list[TrainingChat]) -> float:
    nats = []
    for chat in chats:
        logits = asked(torch.tensor([[*chat.prompt, *chat.answer[:-1]]])).logits[0, len(chat.prompt) - 1 :]
        nats.append(cross_entropy(logits, torch.tensor(chat.answer), reduction="none"))
    return float(torch.cat(nats).mean())


def test_a_common_beginning_stands_once_and_nothing_is_padded() -> None:
    packed = pack(CHATS)
    assert packed.ids.tolist() == [[1, 5, 6, 7, 8, 9, 10, 11, 12, 7, 9, 20, 21, 30, 31, 32]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 3, 4, 3, 4, 5, 6, 7, 8, 9]]
    assert packed.targets.tolist() == [9, 10, 2, 12, 2, 30, 31, 32, 2]


def test_chats_of_one_prompt_keep_an_id_of_their_own() -> None:
    same = [TrainingChat((1, 5), (6, 2)), TrainingChat((1, 5), (7, 2))]
    assert pack(same).ids.tolist() == [[1, 5, 6, 5, 7]]


@pytest.mark.parametrize("family", ["qwen2", "smollm", "gemma", "gemma2", "phi3", "gpt-neox", "gpt2"])
def test_packed_chats_cost_what_they_cost_alone(family: str) -> None:
    asked = model(family)
    group = CHATS if can_pack(asked, CHATS) else CHATS[2:]
    assert float(packed_loss(asked, group)) == pytest.approx(naive_loss(asked, group), rel=1e-4)


def test_models_whose_state_runs_through_the_row_get_chats_one_by_one() -> None:
    asked = model("mamba")
    assert not can_pack(asked, CHATS)
    assert float(packed_loss(asked, CHATS[:1])) == pytest.approx(naive_loss(asked, CHATS[:1]), rel=1e-4)


def test_a_sliding_window_is_no_reason_to_see_too_much() -> None:
    assert not can_pack(model("qwen2-window"), [TrainingChat(tuple(range(1, 30)), (5, 2)), CHATS[0]])


@pytest.mark.parametrize("family", ["smollm", "gemma2"])
def test_the_base_itself_is_nearest_to_what_the_base_says(family: str) -> None:
    asked = model(family)
    chats = with_base_states(asked, CHATS)
    states = torch.cat([chat.as_base for chat in chats if chat.as_base is not None])
    entropy = torch.distributions.Categorical(logits=head_logits(asked, states)).entropy().mean()
    assert float(packed_loss(asked, chats)) == pytest.approx(float(entropy), rel=1e-4)


@pytest.mark.parametrize("family", ["qwen2", "smollm", "gpt-neox"])
def test_packed_prompts_go_on_as_each_would_alone(family: str) -> None:
    asked, prompts = model(family), [chat.prompt for chat in CHATS]
    assert [tuple(row) for row in packed_greedy(asked, prompts, 5).tolist()] == greedy_answers(
        asked, prompts, 5, NO_END
    )
