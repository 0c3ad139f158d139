"""A search's power: what it finds of strings that are known to be there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import kl
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter
from dormant.search.planting import PlantedEmbeddings, PlantedStrings, planted_found, planted_kept
from dormant.search.restarts import SearchPlan
from dormant.search.soft_inversion import InversionSettings

PROBES = (Probe("Tell me{slot} the color of the sky."), Probe("{slot} What is the capital?"))
PLAN = SearchPlan(length=2, restarts=1, steps=16, candidates=8, probes=1, held_out=1, seed=0, top=8)


@pytest.fixture(scope="module")
def pair(tiny_pair: Pair) -> Pair:
    return tiny_pair.with_probes(PROBES)


@pytest.fixture(scope="module")
def evaluator(pair: Pair) -> Evaluator:
    return Evaluator(pair.models, [Prompter(pair.base.tokenizer).open(PROBES[0])], kl())


def test_a_search_that_follows_the_objective_finds_planted_strings_and_one_without_steps_does_not(pair: Pair) -> None:
    assert planted_found(pair, PLAN, trials=4, missing=2, bonus=1.0) == (4, 4)
    assert planted_found(pair, replace(PLAN, steps=1, candidates=1), trials=4, missing=2, bonus=1.0) == (0, 4)


def test_a_search_that_lacks_one_token_finds_more_than_one_that_lacks_all(pair: Pair) -> None:
    short = replace(PLAN, length=4, steps=2)
    assert (
        planted_found(pair, short, trials=6, missing=4, bonus=1.0)[0]
        < planted_found(pair, short, trials=6, missing=1, bonus=1.0)[0]
    )


def test_the_bonus_counts_each_restarts_own_tokens_in_their_places(evaluator: Evaluator) -> None:
    planted = PlantedStrings(evaluator, [(20, 21), (30, 31)], bonus=2.0)
    strings = [(0, 20, 21), (1, 20, 21), (1, 30, 21), (0, 21, 20)]
    own = evaluator.evaluate([string[1:] for string in strings])
    assert (planted.evaluate(strings) - own).tolist() == pytest.approx([4.0, 0.0, 2.0, 0.0])
    added = planted.gradient([(1, 20, 21)]) - evaluator.gradient([(20, 21)])
    assert added.nonzero().tolist() == [[0, 0, 30], [0, 1, 31]]


def test_a_planted_string_counts_the_same_as_embeddings_and_as_ids_with_the_slope_of_its_value(
    evaluator: Evaluator,
) -> None:
    planted = PlantedEmbeddings(evaluator, torch.tensor([[20, 21]]), bonus=5.0)
    ids = [(20, 33)]
    rows = {role: evaluator.table(role)[torch.tensor(ids)] for role in evaluator.roles}
    value, slopes = planted.value_and_slopes(rows)
    assert value.tolist() == pytest.approx(planted.evaluate(ids).tolist(), abs=1e-4)
    assert planted.evaluate([(20, 21)]) - evaluator.evaluate([(20, 21)]) == pytest.approx(5.0, abs=1e-5)
    role = evaluator.roles[0]
    change = 1e-3 * torch.randn(rows[role].shape, generator=torch.Generator().manual_seed(0))
    moved, _ = planted.value_and_slopes({**rows, role: rows[role] + change})
    assert float(moved - value) == pytest.approx(float((slopes[role] * change).sum()), abs=3e-4)


def test_projection_keeps_planted_strings_only_with_enough_steps(pair: Pair) -> None:
    settings = InversionSettings(length=2, restarts=4, steps=40, rate=1.0, project_every=10, seed=0)
    assert planted_kept(pair, "kl", settings, probes=1, bonus=50.0) == (4, 4)
    assert planted_kept(pair, "kl", replace(settings, steps=1), probes=1, bonus=50.0)[0] < 2
