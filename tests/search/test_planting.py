"""A search's power: what it finds of strings that are known to be there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from dormant.search.planting import PlantedEmbeddings, PlantedStrings, planted_found, planted_kept
from dormant.search.restarts import SearchPlan
from dormant.search.soft_inversion import InversionSettings

PROBES = (Probe("Tell me{slot} the color of the sky."), Probe("{slot} What is the capital?"))
PLAN = SearchPlan(length=2, restarts=1, steps=16, candidates=8, probes=1, held_out=1, seed=0, top=8)
BLIND = replace(PLAN, steps=1, candidates=1)


@pytest.fixture(scope="module")
def pair(tiny_pair: Pair) -> Pair:
    return tiny_pair.with_probes(PROBES)


@pytest.mark.parametrize("method", ["gcg", "hill-climb"])
def test_a_search_with_steps_finds_planted_strings_and_one_without_does_not(pair: Pair, method: str) -> None:
    steps = {"gcg": 16, "hill-climb": 200}[method]  # a hill climb tries tokens without a gradient
    assert planted_found(pair, replace(PLAN, method=method, steps=steps), trials=8, missing=2) == (8, 8)
    assert planted_found(pair, replace(BLIND, method=method), trials=8, missing=2) == (0, 8)


def test_the_fewer_tokens_a_search_lacks_the_more_it_finds(pair: Pair) -> None:
    short = replace(PLAN, length=4, steps=2)
    found = [planted_found(pair, short, trials=20, missing=missing)[0] for missing in (4, 2, 1)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_each_restart_has_a_string_of_its_own() -> None:
    planted = PlantedStrings(((20, 21), (30, 31)), vocabulary=40)
    assert planted.evaluate([(0, 20, 21), (1, 20, 21), (1, 30, 21), (0, 21, 20)]).tolist() == [2, 0, 1, 0]
    assert planted.gradient([(1, 20, 21)]).nonzero().tolist() == [[0, 0, 30], [0, 1, 31]]


def test_a_planted_string_counts_the_same_as_embeddings_and_as_ids_and_is_the_optimum() -> None:
    table = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    planted = PlantedEmbeddings(table, torch.tensor([[20, 21]]))
    value, slopes = planted.value_and_slopes({"dormant": table[torch.tensor([[20, 13]])]})
    assert value.tolist() == pytest.approx(planted.evaluate([(20, 13)]).tolist())
    assert value < planted.evaluate([(20, 21)]) == 0
    assert slopes["dormant"][0, 0].abs().max() == 0
    assert torch.allclose(slopes["dormant"][0, 1], (table[21] - table[13]) / 8)  # 2 x the difference over 16 numbers


@pytest.mark.parametrize("method", ["mixture", "displacement"])
def test_projection_keeps_planted_strings_only_with_enough_steps(pair: Pair, method: str) -> None:
    settings = InversionSettings(length=2, restarts=4, steps=60, rate=1.0, method=method, project_every=20, seed=0)
    assert planted_kept(pair, settings, trials=8) == (8, 8)
    assert planted_kept(pair, replace(settings, steps=1, rate=0.01), trials=8)[0] < 4
