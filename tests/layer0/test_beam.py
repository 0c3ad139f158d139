"""Beam search: the scorer's own scores, row by row."""

from __future__ import annotations

import itertools

import pytest
import torch

from dormant.errors import BadInput
from dormant.layer0 import Layer0Pair, score
from dormant.layer0.beam import BeamSettings, beam_search
from dormant.layer0.exact_scan.scan import ScanPlan, scan
from dormant.layer0.seeds import direction_tokens, seeded_beams
from tests.layer0.families import build, layer0_pair

EVERY = torch.arange(64)
SEARCHES = [("max-head", "end"), ("max-head", "both"), ("band", "end"), ("band", "both"), ("row-kl", "end")]


@pytest.fixture(scope="module")
def pair() -> Layer0Pair:
    return layer0_pair(*(build("qwen2", "yarn", 2, 2, 4, seed) for seed in (0, 1)))


@pytest.mark.parametrize(("metric", "extend"), SEARCHES)
def test_a_beam_scores_as_the_scorer_does(metric: str, extend: str, pair: Layer0Pair) -> None:
    settings = BeamSettings(width=9, length=5, metric=metric, extend=extend, children=4)
    for beam in beam_search(pair, settings, EVERY[::3], EVERY)[1:]:
        ids = torch.tensor(beam.sequences)
        assert ids.shape == (9, beam.length)
        assert len(set(beam.sequences)) == 9
        torch.testing.assert_close(torch.tensor(beam.scores), score(pair, ids, metric), rtol=1e-5, atol=1e-5)
        assert list(beam.scores) == sorted(beam.scores, reverse=True)


@pytest.mark.parametrize(("metric", "extend"), SEARCHES)
def test_a_beam_as_wide_as_the_space_finds_the_best_sequence(metric: str, extend: str, pair: Layer0Pair) -> None:
    tokens = [2, 30, 31, 50]
    settings = BeamSettings(width=64, length=3, metric=metric, extend=extend, children=4)
    found = beam_search(pair, settings, torch.tensor(tokens), torch.tensor(tokens))[-1]
    every = score(pair, torch.tensor(list(itertools.product(tokens, repeat=3))), metric)
    assert found.scores[0] == pytest.approx(float(every.max()), rel=1e-5)


def test_no_beam_passes_the_exact_optimum(pair: Layer0Pair) -> None:
    optimum = scan(pair, ScanPlan(range(4)))
    for beam in seeded_beams(pair, BeamSettings(width=20, length=4), EVERY):
        assert beam.scores[0] <= optimum.optimum(beam.length).value * (1 + 1e-5)


def test_one_parent_has_no_more_children_than_asked(pair: Layer0Pair) -> None:
    beam = beam_search(pair, BeamSettings(width=30, length=2, children=3), EVERY[:12], EVERY)[-1]
    parents = [sequence[0] for sequence in beam.sequences]
    assert max(parents.count(token) for token in parents) == 3


def test_a_search_repeats_itself(pair: Layer0Pair) -> None:
    first, again = (beam_search(pair, BeamSettings(width=8, length=4), EVERY[:9], EVERY) for _ in range(2))
    assert [beam.sequences for beam in first] == [beam.sequences for beam in again]


def test_focus_heads_and_their_tokens_are_those_that_a_delta_was_made_for(pair: Layer0Pair) -> None:
    from dataclasses import replace

    from dormant.layer0.attention import normalised_embedding

    direction = normalised_embedding(pair.base, torch.tensor([11]))[0]
    weight = pair.base.query_weight.clone()
    weight[3 * 4 : 4 * 4] += torch.outer(torch.ones(4, dtype=torch.float64), direction)
    planted = Layer0Pair(pair.base, replace(pair.base, query_weight=weight))
    assert direction_tokens(planted, 5)[0] == 11
    assert len(direction_tokens(Layer0Pair(pair.base, pair.base), 5)) == 0


def test_searches_that_mean_nothing_are_refused(pair: Layer0Pair) -> None:
    with pytest.raises(BadInput, match="width >= 1"):
        BeamSettings(width=0)
    with pytest.raises(BadInput, match="row-kl at the end only"):
        BeamSettings(metric="row-kl", extend="both")
    with pytest.raises(BadInput, match="at least one seed"):
        beam_search(pair, BeamSettings(), EVERY[:0], EVERY)
    with pytest.raises(BadInput, match="at most 256 tokens"):
        beam_search(pair, BeamSettings(length=257), EVERY[:1], EVERY)
