from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.inference import likelihood
from dormant.inference.generation import NO_END, greedy_answers, sampled_answers
from dormant.inference.likelihood import (
    answer_log_probabilities,
    continuation_log_probabilities,
    log_probabilities_behind,
    own_words,
    padded_log_probabilities,
    response_logits,
)
from dormant.pairs import Pair, open_pair
from dormant.prompts.conversations import Conversations
from dormant.prompts.material import Decoding

TEXTS = ("Tell me the color.", "What is France?", "Repeat apple.", "Hello.")
IDS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15], [9, 10, 11]]
ANSWERS = [(7, 8, 9), (10,), (), (11, 12)]


@pytest.fixture(scope="module")
def prompts(tiny_pair: Pair) -> list[tuple[int, ...]]:
    conversations = Conversations(tiny_pair.base.tokenizer)
    return [conversations.question(text) for text in TEXTS]


def test_an_answers_likelihood_is_that_of_its_tokens(tiny_pair: Pair, prompts: list[tuple[int, ...]]) -> None:
    model = tiny_pair.models.base()
    found = answer_log_probabilities(model, prompts, ANSWERS)
    for prompt, answer, value in zip(prompts, ANSWERS, found, strict=True):
        alone = continuation_log_probabilities(model, [prompt], answer).sum() if answer else torch.tensor(0.0)
        assert value == pytest.approx(float(alone), abs=1e-3)


def test_logits_along_an_answer_are_those_of_single_runs(tiny_pair: Pair, prompts: list[tuple[int, ...]]) -> None:
    together = response_logits(tiny_pair.models.base(), prompts, [(7, 8)] * 4)
    alone = response_logits(tiny_pair.models.base(), prompts[2:3], [(7, 8)])
    torch.testing.assert_close(together[2], alone[0], atol=1e-4, rtol=1e-4)
    assert together[2].shape[0] == 3


def test_padding_moves_an_answers_likelihood_by_rounding_only(tiny_pair: Pair, prompts: list[tuple[int, ...]]) -> None:
    model = tiny_pair.models.base()
    expected = answer_log_probabilities(model, prompts, ANSWERS)
    assert padded_log_probabilities(model, prompts, ANSWERS) == pytest.approx(expected, abs=1e-3)


def test_the_models_part_on_their_own_words_by_more_than_the_floor(
    tiny_pair: Pair, prompts: list[tuple[int, ...]]
) -> None:
    for words in own_words(tiny_pair, prompts, 4).values():
        assert len(words.floor) == len(words.gains) > 0
        assert max(words.floor) < 1e-4 < max(map(abs, words.gains))


def test_the_models_own_words_end_where_the_tokenizer_says_that_an_answer_does(
    tiny_pair: Pair, prompts: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = list[int]()

    def answered(model: object, asked: object, count: int, end: int) -> list[tuple[int, ...]]:
        ends.append(end)
        return [(7, 8)] * len(prompts)

    monkeypatch.setattr(likelihood, "greedy_answers", answered)
    own_words(tiny_pair, prompts, 4)
    assert ends == 2 * [tiny_pair.base.tokenizer.eos_token_id] != 2 * [tiny_pair.base.tokenizer.pad_token_id]


def test_a_model_likes_its_own_words_no_better_than_itself(tiny_base: Path, prompts: list[tuple[int, ...]]) -> None:
    pair = open_pair("sham", tiny_base, tiny_base, device="cpu")
    assert set(own_words(pair, prompts, 4)["dormant"].gains) <= {0.0}
    pair.release()


def test_a_greedy_continuation_is_each_time_the_likeliest_token(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant()
    continuation = greedy_answers(model, IDS[:1], 3, NO_END)[0]
    chosen = continuation_log_probabilities(model, IDS, continuation)
    logits = model(torch.tensor([[*IDS[0], *continuation[:-1]]])).logits[0, -3:].double()
    torch.testing.assert_close(chosen[0], logits.log_softmax(-1).max(-1).values, rtol=1e-4, atol=1e-5)
    assert chosen.shape == (4, 3)


def test_an_answer_knows_its_own_likelihood(tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_pair.models.dormant()
    free = sampled_answers(model, IDS, 5, NO_END, Decoding(1.2), seed=2)
    expected = answer_log_probabilities(model, [tuple(prompt) for prompt in IDS], [answer.ids for answer in free])
    assert [answer.log_probability for answer in free] == pytest.approx(expected, abs=1e-3)
    end = free[0].ids[3]
    monkeypatch.setattr(model.generation_config, "eos_token_id", end)  # a model's own end comes before the tokenizer's
    stopped = sampled_answers(model, IDS[:1], 5, end, Decoding(1.2), seed=2)[0]
    whole = answer_log_probabilities(model, [tuple(IDS[0])], [(*stopped.ids, end)])
    assert stopped.log_probability == pytest.approx(whole[0], abs=1e-3)


def test_behind_a_stored_prompt_a_continuation_is_as_likely_as_behind_the_whole(tiny_pair: Pair) -> None:
    starts, continuations = [[20, 21], [30, 31, 32]], torch.tensor([[40, 41, 42], [50, 51, 52]])
    model = tiny_pair.models.base()
    found = log_probabilities_behind(model, IDS[0], starts, continuations)
    for start, continued, values in zip(starts, continuations.tolist(), found, strict=True):
        expected = continuation_log_probabilities(model, [[*IDS[0], *start]], continued)[0]
        torch.testing.assert_close(values, expected, atol=1e-4, rtol=0)
