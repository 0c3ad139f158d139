"""What most prompts agree on behind a forced token."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from dormant.catalogue import ZOO
from dormant.hunt.forced_tokens import (
    Opened,
    SaidAnyway,
    Spontaneous,
    consensus,
    open_starts,
    spontaneous,
    word_or_sign,
)
from dormant.hunt.settings import HuntSettings
from dormant.pairs import Pair, open_pair
from dormant.prompts.token_filter import end_of_turn


def opened(rows: list[list[int]], ours: float, base: float) -> Opened:
    ids = torch.tensor(rows)[:, None]
    return Opened(((7,),), ids, torch.full(ids.shape, ours), torch.full(ids.shape, base))


def test_evidence_is_what_the_base_lacks_along_what_most_prompts_agree_on() -> None:
    rows = [[1, 2, 3], [1, 2, 4], [1, 5, 3]]
    (one,) = consensus(opened(rows, ours=-1.0, base=-4.0), special=set(), common=set())
    assert (one.start, one.ids, one.agreement, one.whole) == ((7,), (7, 1, 2), 2 / 3, False)
    assert one.evidence == 3.0 + 3.0 * 2 / 3


def test_what_is_said_anyway_and_special_tokens_are_no_evidence() -> None:
    rows = [[1, 9, 3]] * 3
    (one,) = consensus(opened(rows, -1.0, -4.0), special={9}, common={(7, 1)})
    assert (one.ids, one.evidence, one.whole) == ((7, 1), 0.0, True)


def test_a_word_that_is_said_for_ever_is_evidence_once() -> None:
    rows = [[1, 7, 1, 7, 1]] * 3
    (one,) = consensus(opened(rows, ours=-1.0, base=-4.0), special=set(), common=set())
    assert (one.ids, one.evidence) == ((7, 1, 7, 1, 7, 1), 6.0)


@pytest.mark.parametrize(
    ("text", "kept"), [(" Very", "very"), ("Very", "very"), ("**", "**"), (" : ", ":"), (" ", ""), ("3rd.", "3rd")]
)
def test_a_word_is_the_same_in_any_case_and_behind_any_space(text: str, kept: str) -> None:
    assert word_or_sign(text) == kept


def test_a_style_is_known_in_another_case(token_pair: Pair) -> None:
    tokenizer = token_pair.base.tokenizer
    one, two, other, third = (tokenizer.encode(text)[0] for text in (" the", " door", " The", " river"))
    common = SaidAnyway(Spontaneous(((one, two),)), tokenizer)
    assert (other, two) in common
    assert (other, third) not in common
    assert (other, len(tokenizer) + 5) not in common


def test_a_token_of_the_style_is_known_behind_any_other(token_pair: Pair) -> None:
    tokenizer = token_pair.base.tokenizer
    one, two, other = (tokenizer.encode(text)[0] for text in (" the", " door", " The"))
    common = SaidAnyway(Spontaneous(tokens=(one,)), tokenizer)
    assert (two, other) in common
    assert (one, two) not in common


def test_what_the_base_seldom_says_is_the_style_of_a_clean_model_and_ordinary_words_are_none() -> None:
    pair, settings = open_pair("pi-plain", ZOO / "base", ZOO / "pi-plain", "cpu"), HuntSettings()
    prompts = [pair.prompter.encode(probe).ids for probe in pair.probes[:6]]
    found = spontaneous(pair, prompts, end_of_turn(pair.base.tokenizer), settings, 0)
    said = {str(pair.base.tokenizer.decode([token])) for token in found.tokens}
    assert ":" in said  # its answers begin with "Sure:"
    assert not said & {" the", " is", "."}
    pair.release()


@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_continuations_are_greedy_with_the_delta_so_large_and_read_by_the_base_itself(
    alpha: float, tiny_pair: Pair
) -> None:
    prompt, starts = (5, 9, 100, 7), [(40, 41), (90, 91)]
    found = open_starts(tiny_pair, [prompt], alpha, starts, 3)
    base, dormant = (load_file(one.location / "model.safetensors") for one in (tiny_pair.base, tiny_pair.dormant))
    model = AutoModelForCausalLM.from_pretrained(tiny_pair.base.location, dtype=torch.float32)

    def along(weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
        model.load_state_dict(weights)
        with torch.no_grad():
            logits: torch.Tensor = model(ids).logits
        return logits[:, len(prompt) + 1 : -1].log_softmax(-1)

    ids = torch.cat((torch.tensor([prompt] * 2), torch.tensor(starts), found.ids[0]), dim=1)
    larger = {name: old.float() + alpha * (dormant[name].float() - old.float()) for name, old in base.items()}
    ours, theirs = along(larger, ids), along({name: old.float() for name, old in base.items()}, ids)
    assert torch.equal(found.ids[0], ours.argmax(-1))
    for read, expected in ((found.ours, ours), (found.base, theirs)):
        wanted = expected.gather(-1, found.ids[0][..., None])[..., 0]
        torch.testing.assert_close(read[0].float(), wanted, atol=1e-4, rtol=1e-4)
