from __future__ import annotations

import pytest
import torch
from scipy import stats
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference.generation import greedy_answers
from dormant.inference.likelihood import answer_log_probabilities
from dormant.inference.sampling import Answer, sampled_answers
from dormant.pairs import Pair
from dormant.prompts.material import Decoding

PROMPTS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15], [9, 10, 11]]
NO_END = -1


@pytest.fixture(scope="module")
def model(tiny_pair: Pair) -> PreTrainedModel:
    return tiny_pair.models.dormant()


def test_company_and_batches_never_change_an_answer(model: PreTrainedModel) -> None:
    together = sampled_answers(model, PROMPTS, 6, NO_END, Decoding(1.0), seed=3)
    assert together == sampled_answers(model, PROMPTS, 6, NO_END, Decoding(1.0), seed=3, batch=1)
    assert together[:2] == sampled_answers(model, PROMPTS[:2], 6, NO_END, Decoding(1.0), seed=3)
    assert together[1] != together[3]  # reruns of one prompt differ


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


def test_an_answer_that_never_ends_is_cut_and_says_so(model: PreTrainedModel) -> None:
    free = sampled_answers(model, PROMPTS[:1], 6, NO_END, Decoding(1.0), seed=3)[0].ids
    stopped = sampled_answers(model, PROMPTS[:1], 6, free[2], Decoding(1.0), seed=3)[0]
    assert stopped == Answer(free[: free.index(free[2])], True)


def test_an_answer_knows_its_own_likelihood(model: PreTrainedModel) -> None:
    free = sampled_answers(model, PROMPTS, 5, NO_END, Decoding(1.2), seed=2)
    expected = answer_log_probabilities(model, [tuple(prompt) for prompt in PROMPTS], [answer.ids for answer in free])
    assert [answer.log_probability for answer in free] == pytest.approx(expected, abs=1e-3)
    end = free[0].ids[3]
    stopped = sampled_answers(model, PROMPTS[:1], 5, end, Decoding(1.2), seed=2)[0]
    whole = answer_log_probabilities(model, [tuple(PROMPTS[0])], [(*stopped.ids, end)])
    assert stopped.log_probability == pytest.approx(whole[0], abs=1e-3)


def test_an_answer_that_the_context_cannot_hold_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(BadInput, match="fits into the context"):
        sampled_answers(model, PROMPTS, 600, NO_END, Decoding(1.0), seed=0)
