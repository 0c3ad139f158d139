from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from dormant.checkpoints.checkpoint import load_model, open_checkpoint
from dormant.errors import BadInput
from dormant.inference.residual_stream import capture, decoder_blocks, edited, logit_lens

PROMPTS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15]]


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> PreTrainedModel:
    return load_model(open_checkpoint(tiny_base), torch.device("cpu"), torch.float32)


def test_states_are_those_of_transformers(model: PreTrainedModel) -> None:
    states = capture(model, PROMPTS, positions=(-1, -3))  # [prompt, layer, position, hidden]
    for prompt, ours in zip(PROMPTS, states, strict=True):
        hidden = model(torch.tensor([prompt]), output_hidden_states=True).hidden_states
        torch.testing.assert_close(ours[0], hidden[1][0, [-1, -3]], atol=1e-5, rtol=1e-5)
        after_norm = model.get_decoder().norm(ours[1])  # transformers shows the last layer behind the final norm
        torch.testing.assert_close(after_norm, hidden[2][0, [-1, -3]], atol=1e-5, rtol=1e-5)


def test_the_lens_of_what_the_last_block_gives_is_the_models_own_answer(model: PreTrainedModel) -> None:
    last = len(decoder_blocks(model)) - 1
    states = capture(model, PROMPTS, layers=[last])[:, 0, 0]
    own = torch.stack([model(torch.tensor([prompt])).logits[0, -1] for prompt in PROMPTS])
    torch.testing.assert_close(logit_lens(model, states), own, atol=1e-4, rtol=1e-4)


def test_chosen_layers_are_a_part_of_all(model: PreTrainedModel) -> None:
    torch.testing.assert_close(capture(model, PROMPTS, layers=[1]), capture(model, PROMPTS)[:, 1:])


def test_company_and_batch_size_never_change_a_state(model: PreTrainedModel) -> None:
    alone = torch.cat([capture(model, [prompt], batch_size=1) for prompt in PROMPTS])
    torch.testing.assert_close(capture(model, PROMPTS), alone, atol=1e-5, rtol=1e-5)


def test_a_capture_leaves_the_model_as_it_was(model: PreTrainedModel) -> None:
    before = [list(block._forward_hooks) for block in decoder_blocks(model)]  # transformers keeps hooks of its own
    capture(model, PROMPTS)
    assert [list(block._forward_hooks) for block in decoder_blocks(model)] == before


def test_a_failing_edit_leaves_no_hook_behind(model: PreTrainedModel) -> None:
    def fail(states: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no")

    expected = model(torch.tensor([[1]])).logits
    with pytest.raises(RuntimeError, match="no"), edited(model, {0: fail}):
        model(torch.tensor([[1]]))
    assert torch.equal(model(torch.tensor([[1]])).logits, expected)


def test_only_what_was_asked_is_kept(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    stack = torch.stack

    def watch(tensors: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
        kept.extend(tensor.untyped_storage().nbytes() for tensor in tensors)
        return stack(tensors, dim=dim)

    monkeypatch.setattr(torch, "stack", watch)
    capture(model, [[7] * 200] * 4, layers=[0], positions=(-1, 0))
    assert kept == [4 * 2 * 32 * 4]  # prompts, positions, hidden size, bytes: not the 200 positions that ran


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": [2]}, r"layers must lie in 0\.\.1; got 2"),
        ({"layers": []}, "got none"),
        ({"positions": [-4]}, r"got \[-4\] at a prompt of 3 ids"),
        ({"positions": []}, "positions must lie"),
    ],
)
def test_unknown_layers_and_positions_are_named(
    model: PreTrainedModel, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        capture(model, PROMPTS, **arguments)


@pytest.mark.parametrize(
    ("prompts", "message"), [([[1] * 2049], "got 2049 at prompt 1 of 1"), ([[1], []], "1 empty"), ([], "got 0 prompts")]
)
def test_prompts_that_do_not_fit_are_named(model: PreTrainedModel, prompts: list[list[int]], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        capture(model, prompts)
