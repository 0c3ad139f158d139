from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dormant.hunt.stage import run_stage, successive_halving
from dormant.hunt.stages.group_testing import GroupTesting
from dormant.hunt.vocabulary import Vocabulary
from dormant.pairs import Pair
from tests.hunt.conftest import ContextOf, pieces, with_effort

asked: list[list[str]] = []


def length(strings: Sequence[str]) -> Tensor:
    asked.append(list(strings))
    return torch.tensor([float(len(text)) for text in strings])


def test_each_scorer_keeps_its_best_and_the_next_sees_no_others() -> None:
    asked.clear()
    left, values = successive_halving(["a", "dddd", "bb", "ccc"], [length, lambda few: -length(few)], [2, 5])
    assert (left, values) == (["ccc", "dddd"], [-3.0, -4.0])
    assert asked == [["a", "dddd", "bb", "ccc"], ["dddd", "ccc"]]


def test_hints_at_which_the_models_never_part_make_no_string_to_look_at(sham_pair: Pair, context_of: ContextOf) -> None:
    effort = {"subsets": ((4, 3),), "drawn_subsets": 12, "minimised_subsets": 2, "minimal_strings": ((1, 3),)}
    context, words = context_of(sham_pair, with_effort(**effort)), pieces("candle winter color silver")
    found, finished = run_stage(GroupTesting(), context, [], Vocabulary(words, words))
    assert finished
    assert found.sentences == ()
    assert not context.confirmations()
