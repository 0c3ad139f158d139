"""Divergences along an answer: against a loop with transformers, against the first token alone, and their mathematics."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference import answer_divergence
from dormant.inference.answer_divergence import (
    ALONG,
    EFFECT_METRICS,
    disagreement_along,
    divergences,
    js_along,
    kl_along,
    own_answers,
)
from dormant.inference.batching import batch_logits, common_start
from dormant.inference.divergence import js_divergence, kl_divergence
from dormant.inference.horizon import ANSWER, FIRST_TOKEN, Horizon
from dormant.inference.likelihood import response_logits
from dormant.pairs import Pair, open_pair
from dormant.prompts.probes import Prompt, Prompter

THREE = Horizon(3)


def prompts(pair: Pair, text: str, count: int = 3) -> list[Prompt]:
    prompter = Prompter(pair.base.tokenizer)
    return [prompter.encode_text(probe, text) for probe in pair.probes[:count]]


@st.composite
def two_answers(draw: st.DrawFn) -> Tensor:
    """Both models' logits at the places of an answer: [2, place, vocabulary]."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    return scale * torch.randn(2, draw(st.integers(1, 6)), draw(st.integers(2, 20)), generator=generator)


@given(two_answers())
def test_at_one_token_every_divergence_is_that_of_the_next_token(logits: Tensor) -> None:
    dormant, base = logits[:, :1]
    assert kl_along(dormant, base) == float(kl_divergence(dormant[0], base[0]))
    assert js_along(dormant, base) == float(js_divergence(dormant[0], base[0]))
    assert disagreement_along(dormant, base) == float(dormant[0].argmax() != base[0].argmax())


@given(two_answers())
def test_js_is_symmetric_and_bounded_and_a_longer_answer_has_no_smaller_kl(logits: Tensor) -> None:
    dormant, base = logits
    assert js_along(dormant, base) == pytest.approx(js_along(base, dormant), abs=1e-12)
    assert 0 <= js_along(dormant, base) <= math.log(2)
    assert kl_along(dormant, base) >= kl_along(dormant[:-1], base[:-1])
    assert all(measure(dormant, dormant) == pytest.approx(0, abs=1e-12) for measure in ALONG.values())


def test_the_mean_over_drawn_answers_is_the_divergence_of_whole_answers() -> None:
    """Two tokens of a vocabulary of four: the chain rule, all sixteen answers weighed by the dormant model."""
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(2, 4, generator=generator), torch.randn(2, 4, 4, generator=generator)
    log_first, log_second = first.double().log_softmax(-1), second.double().log_softmax(-1)
    whole = log_first[:, :, None] + log_second  # [model, first token, second token]
    expected = float((whole[0].exp() * (whole[0] - whole[1])).sum())
    along = [
        kl_along(torch.stack([first[0], second[0, token]]), torch.stack([first[1], second[1, token]]))
        for token in range(4)
    ]
    assert float(log_first[0].exp() @ torch.tensor(along, dtype=torch.float64)) == pytest.approx(expected)


def naive_answer(model: PreTrainedModel, ids: tuple[int, ...], tokens: int, end: int) -> list[int]:
    said = list[int]()
    while len(said) < tokens:
        token = int(naive_logits(model, [*ids, *said])[-1].argmax())
        if token == end:
            break
        said.append(token)
    return said


def naive_logits(model: PreTrainedModel, ids: list[int]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(torch.tensor([ids])).logits[0]
    return logits


@pytest.mark.parametrize("horizon", [FIRST_TOKEN, THREE, ANSWER], ids=lambda horizon: str(horizon.tokens))
def test_the_figures_are_those_of_a_loop_with_transformers(tiny_pair: Pair, horizon: Horizon) -> None:
    empty, filled = prompts(tiny_pair, ""), prompts(tiny_pair, "river stone")
    without, with_it = divergences(tiny_pair, empty, filled, horizon)
    base, dormant, end = tiny_pair.models.base(), tiny_pair.models.dormant(), tiny_pair.base.tokenizer.eos_token_id

    def along(prompt: Prompt, said: list[int]) -> tuple[Tensor, Tensor]:
        both = (naive_logits(model, [*prompt.ids, *said])[len(prompt.ids) - 1 :] for model in (dormant, base))
        return tuple(both)  # type: ignore[return-value]

    for index, (plain, prompt) in enumerate(zip(empty, filled, strict=True)):
        for rows, asked in ((without, plain), (with_it, prompt)):
            said = naive_answer(dormant, asked.ids, horizon.tokens - 1, end)
            ours, theirs = along(asked, said)
            assert rows["kl"][index] == pytest.approx(sum(kl_divergence(ours, theirs).tolist()), abs=1e-5)
            assert rows["js"][index] == pytest.approx(fmean(js_divergence(ours, theirs).tolist()), abs=1e-6)
        (d, b), (d_plain, b_plain) = along(prompt, said), along(plain, said)
        moved = sum((kl_divergence(d, d_plain) - kl_divergence(b, b_plain)).tolist())
        assert with_it["difference-in-differences"][index] == pytest.approx(moved, abs=1e-5)


@pytest.mark.parametrize("metric", EFFECT_METRICS)
def test_two_models_that_are_the_same_have_no_effect_at_any_horizon(tiny_base: Path, metric: str) -> None:
    sham = open_pair("sham", tiny_base, tiny_base, device="cpu")
    _, with_it = divergences(sham, prompts(sham, ""), prompts(sham, "river"), THREE)
    assert with_it[metric] == (0.0, 0.0, 0.0)


def test_arithmetic_alone_lies_far_below_an_effect_along_the_answer(tiny_pair: Pair) -> None:
    asked = prompts(tiny_pair, "river")
    effect, noise = (divergences(pair, asked, asked, THREE)[0]["kl"] for pair in (tiny_pair, tiny_pair.against_itself))
    assert max(noise) < 1e-6 < min(effect)


def test_sampled_answers_are_the_seeds_and_their_mean_counts(tiny_pair: Pair) -> None:
    empty, filled = prompts(tiny_pair, ""), prompts(tiny_pair, "river")
    asked = [prompt.ids for prompt in (*empty, *filled)]
    drawn, again, other = (own_answers(tiny_pair, asked, Horizon(3, 4, seed)) for seed in (1, 1, 2))
    assert drawn == again != other
    assert [len(answers) for answers in drawn] == [4] * 6
    _, with_it = divergences(tiny_pair, empty, filled, Horizon(3, 4, 1))
    for prompt, answers, value in zip(asked[3:], drawn[3:], with_it["kl"], strict=True):
        both = (tiny_pair.models.dormant, tiny_pair.models.base)
        dormant, base = (response_logits(model(), [prompt] * 4, answers) for model in both)
        assert value == pytest.approx(fmean(map(kl_along, dormant, base)), abs=1e-5)


def test_little_memory_changes_no_value(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(tiny_pair, ""), prompts(tiny_pair, "river")
    whole = divergences(tiny_pair, *asked, THREE)[1]["kl"]
    monkeypatch.setattr(answer_divergence, "LOGITS_KEPT", 1)
    assert divergences(tiny_pair, *asked, THREE)[1]["kl"] == pytest.approx(whole, abs=1e-6)


def test_what_all_prompts_share_is_read_once_a_model(tiny_pair: Pair) -> None:
    asked = [prompt.ids for prompt in prompts(tiny_pair, "river", 6)]
    model, read = tiny_pair.models.base(), list[int]()
    hook = model.get_input_embeddings().register_forward_hook(
        lambda module, given, found: read.append(given[0].numel())
    )
    logits = response_logits(model, asked, [()] * 6)
    hook.remove()
    shared = common_start(asked)
    assert shared > 5
    assert sum(read) == shared + sum(len(ids) - shared for ids in asked)
    torch.testing.assert_close(torch.cat(logits), batch_logits(model, asked), atol=1e-5, rtol=1e-5)


def test_rows_that_are_all_the_same_leave_one_id_to_run() -> None:
    assert common_start([(1, 2, 3)] * 2) == 2
    assert common_start([(1, 2, 3), (1, 2)]) == 1
    assert common_start([(1, 2), (3, 4)]) == 0


@pytest.mark.parametrize("given", [(0, 0), (1, -1)])
def test_a_horizon_of_nothing_is_refused(given: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="a horizon has one token at least"):
        Horizon(*given)


def test_a_finding_s_plan_says_the_horizon_in_words() -> None:
    assert str(FIRST_TOKEN) == "first token of the answer"
    assert str(ANSWER) == "first 8 tokens of the dormant model's greedy answer"
    assert "4 sampled answers" in str(replace(ANSWER, samples=4))
