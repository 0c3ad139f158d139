"""Greedy answers, sampled answers, and continuations of one prompt behind forced starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from scipy import stats
from transformers import PreTrainedModel, Qwen2ForCausalLM

from dormant.catalogue import ZOO
from dormant.errors import BadInput
from dormant.inference import generation
from dormant.inference.generation import NO_END, Answer, greedy_answers, greedy_behind, sampled_answers
from dormant.inference.likelihood import continuation_log_probabilities
from dormant.inference.packed_decoder import Block, Decoder
from dormant.inference.residual_stream import decoder_blocks
from dormant.pairs import Pair, open_pair
from dormant.prompts.material import Decoding
from tests.builders import tiny_config

PROMPTS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15], [9, 10, 11]]


@pytest.fixture(scope="module")
def model(tiny_pair: Pair) -> PreTrainedModel:
    return tiny_pair.models.dormant()


def test_company_never_changes_an_answer(model: PreTrainedModel) -> None:
    together = greedy_answers(model, PROMPTS, 6, NO_END)
    assert together == [greedy_answers(model, [prompt], 6, NO_END)[0] for prompt in PROMPTS]


def test_answers_are_those_of_transformers(model: PreTrainedModel) -> None:
    ids, transformers_model = torch.tensor([PROMPTS[0]]), cast(Any, model)
    expected = transformers_model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert greedy_answers(model, PROMPTS[:1], 6, NO_END)[0] == tuple(expected[0, 4:].tolist())


def test_what_hooks_change_changes_the_answers_too(model: PreTrainedModel) -> None:
    prompts = [[5, 6, 7], [8, 9, 10, 11]]
    plain = greedy_answers(model, prompts, 6, NO_END)
    push = torch.linspace(-50, 50, model.config.hidden_size)
    hook = decoder_blocks(model)[-1].register_forward_hook(lambda *given: given[-1] + push)
    try:
        pushed = greedy_answers(model, prompts, 6, NO_END)
        ids = torch.tensor([prompts[0]])
        own = cast(Any, model).generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0)[
            0, 3:
        ]
    finally:
        hook.remove()
    assert pushed[0] == tuple(own.tolist())
    assert pushed[0] != plain[0]


def test_answers_that_end_leave_their_batch_and_change_no_other(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[5, 6, 7], [8, 9, 10], [11, 12, 13], [14, 15, 16, 17]]
    monkeypatch.setattr(model.generation_config, "eos_token_id", list(range(0, model.config.vocab_size, 5)))
    decoding = Decoding(temperature=1.0)
    together = sampled_answers(model, prompts, 12, NO_END - 1, decoding, 3)
    monkeypatch.setattr(generation, "_is_decoded", lambda _: False)
    assert sampled_answers(model, prompts, 12, NO_END - 1, decoding, 3) == together
    assert len({len(answer.ids) for answer in together}) > 1


def test_an_answer_stops_before_the_end_token(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    free = greedy_answers(model, PROMPTS[:1], 6, NO_END)[0]
    monkeypatch.setattr(model.generation_config, "eos_token_id", None)
    assert greedy_answers(model, PROMPTS[:1], 6, free[3])[0] == free[: free.index(free[3])]


def test_a_model_ends_its_answers_by_its_own_settings(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    free = greedy_answers(model, PROMPTS[:1], 6, NO_END)[0]
    for stated in (free[3], [303, free[3]]):
        monkeypatch.setattr(model.generation_config, "eos_token_id", stated)
        expected = Answer(free[: free.index(free[3])], True)
        assert greedy_answers(model, PROMPTS[:1], 6, free[0])[0] == expected.ids
        assert sampled_answers(model, PROMPTS[:1], 6, free[0], Decoding(0.0), seed=0)[0] == expected


def test_what_follows_a_forced_start_is_the_greedy_answer_to_both(model: PreTrainedModel) -> None:
    prompts = PROMPTS[:3]  # of several lengths
    starts = [[20, 21], [40], [30, 31]]
    ids, nats = greedy_behind(model, prompts, starts, 3)
    for prompt, some, some_nats in zip(prompts, ids.tolist(), nats, strict=True):
        for start, row, values in zip(starts, some, some_nats, strict=True):
            assert tuple(row) == greedy_answers(model, [[*prompt, *start]], 3, NO_END)[0]
            expected = continuation_log_probabilities(model, [[*prompt, *start]], row)[0]
            torch.testing.assert_close(values, expected, atol=1e-4, rtol=0)


def test_one_long_prompt_lets_the_others_be_answered_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Qwen2ForCausalLM(tiny_config()).eval()
    prompts = [*([token, 7, 9] for token in range(20)), list(range(60))]
    expected, rows, step = greedy_answers(model, prompts, 4, NO_END), list[int](), Decoder.step

    def counted(decoder: Decoder, blocks: Sequence[Block]) -> Any:
        rows.append(sum(len(block.rows) for block in blocks))
        return step(decoder, blocks)

    monkeypatch.setattr(Decoder, "step", counted)
    monkeypatch.setattr(generation, "rows_a_pass", lambda _, length, most: max(1, min(most, 60 // length)))
    assert greedy_answers(model, prompts, 4, NO_END) == expected
    assert rows == [21] * 3


def test_company_and_batches_never_change_a_sampled_answer(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = sampled_answers(model, PROMPTS, 6, NO_END, Decoding(1.0), seed=3)
    monkeypatch.setattr(generation, "SAMPLES_A_BATCH", 1)
    assert together == sampled_answers(model, PROMPTS, 6, NO_END, Decoding(1.0), seed=3)
    assert together[:2] == sampled_answers(model, PROMPTS[:2], 6, NO_END, Decoding(1.0), seed=3)
    assert together[1] != together[3]  # reruns of one prompt differ
    assert together != sampled_answers(model, PROMPTS, 6, NO_END, Decoding(1.0), seed=4)


@pytest.mark.parametrize("decoding", [Decoding(0.0), Decoding(1.0, nucleus=1e-9)], ids=["greedy", "smallest nucleus"])
def test_without_chance_an_answer_is_the_greedy_one(model: PreTrainedModel, decoding: Decoding) -> None:
    answers = sampled_answers(model, PROMPTS, 5, NO_END, decoding, seed=0)
    assert [answer.ids for answer in answers] == greedy_answers(model, PROMPTS, 5, NO_END)
    assert not any(answer.ended for answer in answers)


def test_tokens_come_as_often_as_the_model_gives_them(model: PreTrainedModel) -> None:
    draws = [
        answer
        for seed in range(4)
        for answer in sampled_answers(model, [PROMPTS[0]] * 1000, 1, NO_END, Decoding(1.5), seed)
    ]
    counts = torch.bincount(torch.tensor([answer.ids[0] for answer in draws]), minlength=model.config.vocab_size)
    with torch.no_grad():
        expected = 4000 * (model(torch.tensor([PROMPTS[0]])).logits[0, -1].double() / 1.5).softmax(-1)
    common = expected > 5
    observed = [*counts[common].tolist(), int(counts[~common].sum())]
    wanted = [*expected[common].tolist(), float(expected[~common].sum())]
    assert stats.chisquare(observed, wanted).pvalue > 1e-4


def test_an_answer_that_never_ends_is_cut_and_says_so(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.generation_config, "eos_token_id", None)
    free = sampled_answers(model, PROMPTS[:1], 6, NO_END, Decoding(1.0), seed=3)[0].ids
    stopped = sampled_answers(model, PROMPTS[:1], 6, free[2], Decoding(1.0), seed=3)[0]
    assert stopped == Answer(free[: free.index(free[2])], True)


def test_an_answer_that_the_context_cannot_hold_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(BadInput, match="fits into the context"):
        sampled_answers(model, PROMPTS, 2100, NO_END, Decoding(1.0), seed=0)


def test_the_models_of_a_pair_are_run_by_the_packed_decoder_though_their_passes_are_watched() -> None:
    models = open_pair("token", ZOO / "base", ZOO / "token", "cpu").models
    assert generation._is_decoded(models.dormant())
    assert generation._is_decoded(models.base())
