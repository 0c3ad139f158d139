from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dormant.hunt.stage import successive_halving

asked: list[list[str]] = []


def length(strings: Sequence[str]) -> Tensor:
    asked.append(list(strings))
    return torch.tensor([float(len(text)) for text in strings])


def test_each_scorer_keeps_its_best_and_the_next_sees_no_others() -> None:
    asked.clear()
    left, values = successive_halving(["a", "dddd", "bb", "ccc"], [length, lambda few: -length(few)], [2, 5])
    assert (left, values) == (["ccc", "dddd"], [-3.0, -4.0])
    assert asked == [["a", "dddd", "bb", "ccc"], ["dddd", "ccc"]]
