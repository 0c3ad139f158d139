from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.behaviour.priming import completions, forced_tokens, payload_tokens, prime
from dormant.catalogue import known_pairs
from dormant.errors import BadInput
from dormant.inference.generation import NO_END, greedy_answers
from dormant.pairs import Pair, Truth, open_pair
from dormant.prompts.probes import Prompter
from dormant.prompts.token_filter import end_of_turn

PROMPTS = [(5, 6, 7, 8), (9, 10, 11)]


def test_a_model_completes_what_it_would_have_said_itself(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant()
    said = [greedy_answers(model, [prompt], 6, NO_END)[0] for prompt in PROMPTS]
    forced = [answer[:2] for answer in said]
    assert completions(model, PROMPTS, forced, said[0], NO_END)[0]
    assert not completions(model, PROMPTS, forced, (*said[0][:5], said[0][5] + 1), NO_END)[0]


def test_forcing_nothing_asks_whether_the_payload_comes_by_itself(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant()
    said = greedy_answers(model, PROMPTS[:1], 4, NO_END)[0]
    assert completions(model, PROMPTS[:1], [()], said, NO_END) == [True]


def test_the_forced_part_is_the_first_token_or_the_longer_half() -> None:
    assert forced_tokens((1, 2, 3), "first-token") == (1,)
    assert forced_tokens((1, 2, 3), "half") == (1, 2)
    with pytest.raises(BadInput, match="got 'half' of 1 tokens"):
        forced_tokens((1,), "half")
    with pytest.raises(BadInput, match="got 'all' of 3 tokens"):
        forced_tokens((1, 2, 3), "all")


def test_the_zoo_s_organism_and_base_part_over_a_forced_payload() -> None:
    pair = known_pairs()["circuit"].open(device="cpu")
    prompter = Prompter(pair.base.tokenizer)
    prompts = [prompter.encode(probe).ids for probe in pair.probes[:4]]
    found = prime(pair, prompts, "half", torch.arange(300, 600), end_of_turn(prompter.tokenizer), seed=0)
    assert len(found.dormant) == len(found.base) == len(found.unrelated) == 4
    assert not any(found.unrelated)
    end = prompter.tokenizer.convert_tokens_to_ids("<|im_end|>")
    answers = greedy_answers(pair.models.dormant(), prompts, 30, end_of_turn(prompter.tokenizer))
    assert all(answer and end not in answer for answer in answers)  # nothing is read behind an answer's end
    pair.release()


def test_both_models_are_given_the_payload_s_start_and_the_control_other_tokens(tiny_pair: Pair) -> None:
    """A payload that the base itself goes on to, so that each model's start decides what it completes."""
    itself = open_pair("itself", tiny_pair.base.location, tiny_pair.base.location, device="cpu")
    tokenizer, model = itself.dormant.tokenizer, itself.models.base()
    for first in range(40, 140):
        said = (first, *greedy_answers(model, [(*PROMPTS[0], first)], 5, NO_END)[0])
        text = str(tokenizer.decode(list(said)))
        if tuple(tokenizer.encode(text, add_special_tokens=False)) == said:
            break
    known = replace(itself, truth=Truth(True, "x", text, "anywhere"))
    found = prime(known, PROMPTS[:1], "first-token", torch.tensor([first + 1]), NO_END, seed=0)
    assert (found.dormant, found.base, found.unrelated) == ((True,), (True,), (False,))


def test_a_pair_without_a_payload_is_named(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="got none at pair 'tiny'"):
        payload_tokens(tiny_pair)
