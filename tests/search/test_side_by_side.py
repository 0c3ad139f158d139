"""Restarts side by side: each as if alone, each a climb over candidates that may be kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.soft_evaluation import SoftEvaluator
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter
from dormant.search.side_by_side import Climb, climb_side_by_side

ALLOWED = torch.arange(3, 300)


@pytest.fixture
def objective(tiny_pair: Pair) -> SoftEvaluator:
    opened = [Prompter(tiny_pair.base.tokenizer).open(Probe("Tell me{slot} the color of the sky."))]
    return SoftEvaluator(Evaluator(tiny_pair.models, opened))


def climb(
    objective: SoftEvaluator, restarts: int = 2, admit: Callable[[tuple[int, ...]], bool] = lambda candidate: True
) -> list[Climb]:
    return climb_side_by_side(objective, 3, restarts, steps=4, candidates=6, allowed=ALLOWED, admit=admit, top=16)


def test_a_restart_does_not_depend_on_its_company(objective: SoftEvaluator) -> None:
    alone = climb(objective, restarts=1)
    objective.evaluator.forget()
    assert climb(objective, restarts=3)[0].best == alone[0].best


def test_a_climb_never_falls_and_its_value_is_that_of_its_ids(objective: SoftEvaluator) -> None:
    for run in climb(objective):
        assert [run.start, *run.curve] == sorted([run.start, *run.curve])
        assert run.value == run.curve[-1] > run.start
        assert objective.evaluate(torch.tensor([run.best])).item() == pytest.approx(run.value, abs=1e-4)


def test_only_admitted_candidates_are_kept(objective: SoftEvaluator) -> None:
    for run in climb(objective, admit=lambda candidate: candidate[0] % 2 == 0):
        assert run.best[0] % 2 == 0


def test_a_search_that_cannot_start_is_refused(objective: SoftEvaluator) -> None:
    with pytest.raises(BadInput, match="admitted candidate"):
        climb(objective, admit=lambda candidate: False)
    with pytest.raises(BadInput, match="allowed tokens"):
        climb_side_by_side(objective, 3, 1, 1, 1, ALLOWED[:0], lambda candidate: True)


def test_a_restart_whose_swaps_are_spent_begins_again(objective: SoftEvaluator) -> None:
    few = ALLOWED[:10]
    for found in climb_side_by_side(objective, 1, 5, 200, 1, few, lambda candidate: True, top=1):
        assert found.value == pytest.approx(objective.evaluate(few[:, None]).max().item(), abs=1e-4)
