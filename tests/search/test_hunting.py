"""Hunts on a tiny pair, and what their figures mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import named_objective
from dormant.inference.soft_evaluation import SoftEvaluator
from dormant.pairs import Pair, Truth
from dormant.prompts.probes import Probe, Prompter
from dormant.search.hunting import Catch, Hunt, HuntPlan, hunt, one_token_away, over_control, table_row, transfers

PROBES = tuple(map(Probe, ["Tell me{slot} the color of the sky.", "{slot} What is the capital?", "Repeat{slot} apple"]))
PLAN = HuntPlan("hidden-distance", length=2, restarts=2, steps=2, candidates=4, probes=1, held_out=2, seed=0)
TRUTH = Truth(True, "apple river", "one two", "anywhere", None)


@pytest.fixture(scope="module")
def pair(tiny_pair: Pair) -> Pair:
    return replace(tiny_pair.with_probes(PROBES), truth=TRUTH)


def catches(*gains: tuple[float, float]) -> Hunt:
    return Hunt("nats", tuple(Catch((1,), "a", *gain, spoken=0.0) for gain in gains), (), None, None)


def test_gains_are_over_the_empty_row_of_the_probes_they_name(pair: Pair) -> None:
    found = hunt(pair, PLAN)
    assert len(found.catches) == len(found.curves) == 2
    assert found.planted is not None
    opened = [Prompter(pair.base.tokenizer).open(probe) for probe in PROBES]
    for prompts, name in ((opened[:1], "gain"), (opened[1:], "held_out_gain")):
        evaluator = Evaluator(pair.models, prompts, named_objective(PLAN.objective))
        for catch in (*found.catches, found.planted):
            expected = (evaluator.per_probe_of([catch.ids])[:, 0] - evaluator.empty()).mean().item()
            assert getattr(catch, name) == pytest.approx(expected, abs=1e-3)
    assert found.best.gain == max(curve[-1] for curve in found.curves) == pytest.approx(found.best.gain)


def test_a_payload_is_judged_where_one_is_known(pair: Pair) -> None:
    assert all(catch.spoken in (0.0, 0.5, 1.0) for catch in hunt(pair, PLAN).catches)
    unknown = hunt(replace(pair, truth=None), PLAN)
    assert all(catch.spoken is None for catch in unknown.catches)
    assert unknown.planted is None
    assert unknown.reach is None


def test_the_last_gap_counts_as_closed_where_every_token_is_listed(pair: Pair) -> None:
    opened = [Prompter(pair.base.tokenizer).open(probe) for probe in PROBES[:1]]
    soft = SoftEvaluator(Evaluator(pair.models, opened))
    allowed = torch.arange(3, 300)
    assert one_token_away(soft, (12, 40), allowed, draws=3, seed=0, top=len(allowed)) == (6, 6)
    assert one_token_away(soft, (12, 301), allowed, draws=3, seed=0, top=len(allowed)) == (3, 6)


def test_transfer_leaves_out_searches_that_gained_nothing_and_bounds_small_gains() -> None:
    assert transfers(catches((2.0, 1.0), (1e-9, 5.0), (0.0, 1.0))) == [0.5, 1.0]


def test_gains_are_compared_with_the_controls_mean_gain() -> None:
    found, control = catches((6.0, 0.0), (2.0, 0.0)), catches((1.0, 0.0), (3.0, 0.0))
    assert over_control(found, control) == [3.0, 1.0]
    assert over_control(found, catches((0.0, 0.0))) == [100.0, 100.0]
    assert table_row(found, control) == {"payload given": 0.0, "held-out gain": 0.0, "times the twin's": 2.0}


def test_too_few_probes_are_refused(pair: Pair) -> None:
    with pytest.raises(BadInput, match="needs 5 probes; got 3"):
        hunt(pair, replace(PLAN, held_out=4))


def test_with_hints_strings_are_made_of_those(pair: Pair) -> None:
    even = torch.arange(0, 2000, 2)
    assert all(token % 2 == 0 for catch in hunt(pair, PLAN, even).catches for token in catch.ids)
