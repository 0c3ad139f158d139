from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2ForCausalLM

from dormant.errors import BadInput
from dormant.inference import batching
from dormant.inference.batching import (
    batch_logits,
    checked_prompts,
    equal_length_batches,
    measured_rate,
    padded_logits,
    rows_a_pass,
    unpadded_batches,
)
from dormant.inference.divergence import kl_divergence
from dormant.inference.generation import greedy_behind
from dormant.inference.likelihood import log_probabilities_behind
from dormant.pairs import Pair
from dormant.prompts.probes import Prompt
from tests.builders import tiny_config


@given(st.lists(st.integers(0, 4)), st.integers(1, 3))
def test_every_row_is_in_one_batch_and_a_batch_holds_one_length(lengths: list[int], batch: int) -> None:
    batches = list(equal_length_batches(lengths, batch))
    assert sorted(index for members in batches for index in members) == list(range(len(lengths)))
    assert all(len({lengths[index] for index in members}) == 1 and len(members) <= batch for members in batches)


def test_rows_of_one_length_stay_in_order_or_are_sorted_as_asked() -> None:
    assert list(equal_length_batches([2, 5, 2, 2], 2)) == [[0, 2], [3], [1]]
    assert list(equal_length_batches([2, 5, 2, 2], 2, order=lambda index: -index)) == [[3, 2], [0], [1]]


def test_batches_hold_the_ids_of_their_prompts() -> None:
    (first, ids), (second, _) = unpadded_batches([(5, 6), (7,), (8, 9)], 64, torch.device("cpu"))
    assert (first, ids.tolist(), second) == ([0, 2], [[5, 6], [8, 9]], [1])


def test_company_and_padding_do_not_change_an_answer() -> None:
    model = Qwen2ForCausalLM(tiny_config()).eval()
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(3, 300, (length,), generator=generator).tolist() for length in (5, 9, 5, 1, 9, 5)]
    together = batch_logits(model, [Prompt(tuple(prompts[0]), slice(1, 2)), *prompts[1:]], batch_size=2)
    alone = torch.cat([model(torch.tensor([prompt])).logits[:, -1] for prompt in prompts]).detach()
    assert together.dtype == torch.float32
    assert kl_divergence(together, alone).max() < 1e-4
    assert kl_divergence(padded_logits(model, prompts)[:, -1], alone).max() < 1e-4


def test_prompts_that_a_model_cannot_read_are_named(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    assert checked_prompts(model, [Prompt((5, 6), slice(1, 2)), [7]], new_tokens=2046) == [(5, 6), (7,)]
    with pytest.raises(BadInput, match="the context of 2048 ids; got 2051 at prompt 2 of 2"):
        checked_prompts(model, [[5] * 3, [5] * 2046], new_tokens=5)
    for prompts, sentence in (([], "got 0 prompts, 0 empty"), ([[5], []], "got 2 prompts, 1 empty")):
        with pytest.raises(BadInput, match=sentence):
            batch_logits(model, prompts)


def test_a_pass_holds_as_many_rows_as_work_and_memory_allow_and_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Qwen2ForCausalLM(tiny_config()).eval()
    table = model.get_input_embeddings().weight
    weights = sum(parameter.numel() for parameter in model.parameters()) - table.numel()
    monkeypatch.setattr(batching, "PASS_WORK", {"cpu": 2 * weights * 40})
    assert [rows_a_pass(model, length) for length in (1, 10, 100)] == [40, 4, 1]
    assert rows_a_pass(model, 10, most=3) == 3
    monkeypatch.setattr(batching, "PASS_BYTES", {"cpu": 4 * len(table) * 6})
    assert [rows_a_pass(model, 1, keep) for keep in (1, 2, 7)] == [6, 3, 1]


def test_smaller_passes_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Qwen2ForCausalLM(tiny_config()).eval()
    starts = [[token] for token in range(20)]
    whole = greedy_behind(model, [(1, 2, 3), (4, 5)], starts, 4)
    likelihoods = log_probabilities_behind(model, (1, 2, 3), starts, whole[0][0])
    monkeypatch.setattr(batching, "PASS_WORK", {"cpu": 1.0})
    ids, nats = greedy_behind(model, [(1, 2, 3), (4, 5)], starts, 4)
    assert ids.tolist() == whole[0].tolist()
    torch.testing.assert_close(nats, whole[1], atol=1e-4, rtol=0)
    again = log_probabilities_behind(model, (1, 2, 3), starts, ids[0])
    torch.testing.assert_close(again, likelihoods, atol=1e-4, rtol=0)


def test_a_rate_is_a_power_of_the_root_of_two(tiny_pair: Pair) -> None:
    rate = 2 * math.log2(measured_rate(tiny_pair.models.base()))
    assert math.isclose(rate, round(rate), abs_tol=1e-9)
