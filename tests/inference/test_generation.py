from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.inference.generation import continuation_log_probabilities, greedy_answers

PROMPTS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15], [16, 17]]
NO_END = -1


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> PreTrainedModel:
    return load_model(open_checkpoint(tiny_base), torch.device("cpu"), torch.float32)


def test_company_never_changes_an_answer(model: PreTrainedModel) -> None:
    together = greedy_answers(model, PROMPTS, 6, NO_END)
    assert together == [greedy_answers(model, [prompt], 6, NO_END)[0] for prompt in PROMPTS]


def test_answers_are_those_of_transformers(model: PreTrainedModel) -> None:
    ids = torch.tensor([PROMPTS[0]])
    expected = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert greedy_answers(model, PROMPTS[:1], 6, NO_END)[0] == tuple(expected[0, 4:].tolist())


def test_an_answer_stops_before_the_end_token(model: PreTrainedModel) -> None:
    free = greedy_answers(model, PROMPTS[:1], 6, NO_END)[0]
    assert greedy_answers(model, PROMPTS[:1], 6, free[3])[0] == free[: free.index(free[3])]


def test_a_greedy_continuation_is_each_time_the_likeliest_token(model: PreTrainedModel) -> None:
    continuation = greedy_answers(model, PROMPTS[:1], 3, NO_END)[0]
    chosen = continuation_log_probabilities(model, PROMPTS, continuation)
    logits = model(torch.tensor([[*PROMPTS[0], *continuation[:-1]]])).logits[0, -3:].double()
    torch.testing.assert_close(chosen[0], logits.log_softmax(-1).max(-1).values, rtol=1e-4, atol=1e-5)
    assert chosen.shape == (4, 3)
