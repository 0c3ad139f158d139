"""Values and slopes of input embeddings against those of real ids, both ways to compute them."""

from __future__ import annotations

import pytest
import torch

from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import OBJECTIVES, named_objective
from dormant.inference.soft_evaluation import SoftEvaluator
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter

PROBES = (Probe("Tell me{slot} the color of the sky."), Probe("{slot} What is the capital?"))
IDS = torch.tensor([[12, 40, 7], [90, 8, 33]])


def evaluator(pair: Pair, name: str, reduce: str = "mean") -> Evaluator:
    prompter = Prompter(pair.base.tokenizer)
    return Evaluator(
        pair.models, [prompter.open(p) for p in PROBES], named_objective(name), payload=(30, 31), reduce=reduce
    )


@pytest.mark.parametrize("reduce", ["mean", "worst"])
@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_at_tokens_own_rows_values_and_slopes_are_those_of_the_ids(tiny_pair: Pair, name: str, reduce: str) -> None:
    hard = evaluator(tiny_pair, name, reduce)
    soft = SoftEvaluator(hard)
    rows = {role: soft.table(role)[IDS] for role in soft.roles}
    values, slopes = soft.value_and_slopes(rows)
    torch.testing.assert_close(values, hard.evaluate(IDS), atol=1e-4, rtol=1e-4)
    for index, ids in enumerate(IDS):
        pulled = torch.stack([slopes[role][index] @ soft.table(role).T for role in soft.roles]).sum(0)
        torch.testing.assert_close(pulled, hard.gradient(ids), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["kl", "payload-over-base", "hidden-distance"])
def test_sequential_and_at_once_give_the_same(tiny_pair: Pair, name: str) -> None:
    hard = evaluator(tiny_pair, name)
    generator = torch.Generator().manual_seed(0)
    rows = {role: torch.randn(2, 3, hard.table(role).shape[1], generator=generator) for role in ("dormant", "base")}
    (first, slopes), (second, others) = (
        SoftEvaluator(hard, sequential=on).value_and_slopes(rows) for on in (True, False)
    )
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(slopes, others, atol=1e-6, rtol=1e-4)
