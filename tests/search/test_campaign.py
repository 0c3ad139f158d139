from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.search.campaign import Plan, late_gain, run_campaign

PLAN = Plan(length=2, restarts=2, steps=2, candidates=4, probes=2, held_out=2, seed=0)


def test_random_search_gets_as_many_evaluations_as_gcg(tiny_pair: Pair) -> None:
    found = run_campaign(tiny_pair, PLAN)
    assert [run.evaluations for run in found.gcg] == [run.evaluations for run in found.random]
    assert len(found.gains) == len(found.held_out_gains) == len(found.starts) == 2


def test_the_same_plan_gives_the_same_campaign(tiny_pair: Pair) -> None:
    first, again = run_campaign(tiny_pair, PLAN), run_campaign(tiny_pair, PLAN)
    assert [run.best for run in first.gcg] == [run.best for run in again.gcg]
    assert first.gains == again.gains


def test_a_search_never_ends_below_its_start(tiny_pair: Pair) -> None:
    found = run_campaign(tiny_pair, replace(PLAN, seed=5))
    assert all(run.value >= start for run, start in zip(found.gcg, found.starts, strict=True))


def test_a_search_among_hints_and_its_random_rival_use_no_other_token(tiny_pair: Pair) -> None:
    hints = torch.tensor([40, 41, 42])
    found = run_campaign(tiny_pair, PLAN, hints=hints)
    assert all(set(run.best) <= set(hints.tolist()) for run in (*found.gcg, *found.random))


def test_too_few_probes_are_named(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="a search needs 1002 probes"):
        run_campaign(tiny_pair, replace(PLAN, held_out=1000))


def test_a_candidate_longer_than_the_context_is_refused_before_any_is_drawn(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="candidates of 5000 at the longest probe"):
        run_campaign(tiny_pair, replace(PLAN, length=5000))


@pytest.mark.parametrize("name", ["restarts", "probes", "held_out", "steps", "length"])
def test_counts_below_one_are_named(tiny_pair: Pair, name: str) -> None:
    with pytest.raises(BadInput, match=f"a search needs {name} >= 1; got 0"):
        run_campaign(tiny_pair, replace(PLAN, **{name: 0}))  # type: ignore[arg-type]


def test_a_seed_below_zero_is_named(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="seed is 0 or more; got -1000"):
        run_campaign(tiny_pair, replace(PLAN, seed=-1))


@pytest.mark.parametrize(
    ("curve", "start", "share"),
    [((1.0, 2.0, 3.0, 4.0), 0.0, 0.25), ((4.0, 4.0, 4.0, 4.0), 0.0, 0.0), ((0.0, 0.0, 0.0, 0.0), 0.0, 0.0)],
)
def test_late_gain_is_a_quarter_for_a_search_that_never_slows_down(
    curve: tuple[float, ...], start: float, share: float
) -> None:
    assert late_gain(curve, start) == share
