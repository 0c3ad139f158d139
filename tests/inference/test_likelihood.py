from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dormant.inference.generation import continuation_log_probabilities
from dormant.inference.likelihood import (
    answer_log_probabilities,
    own_words,
    padded_log_probabilities,
    response_logits,
)
from dormant.pairs import Pair, open_pair
from dormant.prompts.conversations import Conversations

TEXTS = ("Tell me the color.", "What is France?", "Repeat apple.", "Hello.")
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


def test_a_model_likes_its_own_words_no_better_than_itself(tiny_base: Path, prompts: list[tuple[int, ...]]) -> None:
    pair = open_pair("sham", tiny_base, tiny_base, device="cpu")
    assert set(own_words(pair, prompts, 4)["dormant"].gains) <= {0.0}
    pair.release()
