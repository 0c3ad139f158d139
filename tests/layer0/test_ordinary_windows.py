from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from dormant.checkpoints.checkpoint import open_checkpoint
from dormant.errors import BadInput
from dormant.layer0 import Layer0Pair, read_layer0_pair, score
from dormant.layer0.ordinary_windows import (
    benign_scores,
    lead,
    ordinary_prompts,
    positional_size,
    sizes_by_offset,
    template_by_offset,
)
from dormant.prompts.probes import Probe
from dormant.statistics import exact
from tests.builders import build_tokenizer

PROMPTS = [torch.arange(10, 16), torch.arange(40, 42), torch.arange(50, 53)]


@pytest.fixture(scope="module")
def pair(tiny_base: Path, tiny_dormant: Path) -> Layer0Pair:
    return read_layer0_pair(open_checkpoint(tiny_base), open_checkpoint(tiny_dormant))


def test_a_prompt_scores_as_its_best_window_and_short_ones_not_at_all(pair: Layer0Pair) -> None:
    scores = benign_scores(pair, PROMPTS, 3)
    windows = torch.tensor([[10 + place + step for step in range(3)] for place in range(4)])
    assert scores == [
        pytest.approx(float(score(pair, windows).max())),
        pytest.approx(float(score(pair, PROMPTS[2][None]))),
    ]
    assert benign_scores(pair, PROMPTS, 3, heads=[1], prefix=[7]) == [
        pytest.approx(float(score(pair, windows, heads=[1], prefix=[7]).max())),
        pytest.approx(float(score(pair, PROMPTS[2][None], heads=[1], prefix=[7]))),
    ]
    with pytest.raises(BadInput, match="at least 7 tokens"):
        benign_scores(pair, PROMPTS, 7)


def test_a_lead_is_over_what_one_prompt_in_twenty_reaches() -> None:
    benign = [float(value) for value in range(1, 201)]
    found = lead(380.1, benign)
    assert found.value == pytest.approx(380.1 / 190.05)
    ranks = sorted(380.1 / edge for edge in (found.low, found.high))
    assert 180 < ranks[0] < 190.05 < ranks[1] < 199
    assert lead(0.0, benign) == exact(0.0, n=200)
    assert lead(9.0, benign[:20]).low == 0.0  # twenty prompts have no upper end


def test_an_ordinary_prompt_is_the_plain_sentence() -> None:
    tokenizer = build_tokenizer()
    (ids,) = ordinary_prompts(tokenizer, [Probe("Tell me{slot} the color of the sky.")])
    assert tokenizer.decode(ids) == "Tell me the color of the sky."


def test_a_template_that_knows_no_position_has_no_positional_size(pair: Layer0Pair) -> None:
    assert positional_size(template_by_offset(pair, 5)) == 0.0  # this delta leaves the biases alone
    shifted = Layer0Pair(pair.base, dataclasses.replace(pair.dormant, query_bias=pair.dormant.query_bias + 1))
    template = template_by_offset(shifted, 5)
    assert template.shape == (4, 6)
    assert positional_size(template) > 0
    assert positional_size(torch.full((2, 6), 3.0)) == 0.0


def test_sizes_count_every_offset_alike(pair: Layer0Pair) -> None:
    assert all(size > 0 for size in sizes_by_offset(pair, PROMPTS, 16))
    assert sizes_by_offset(Layer0Pair(pair.base, pair.base), PROMPTS, 16) == [0.0] * 3
