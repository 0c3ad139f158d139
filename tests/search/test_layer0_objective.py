"""Layer 0's detector as an objective: its values are the scorer's, its slope that of the score."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dormant.errors import BadInput
from dormant.layer0 import attention_logits, read_layer0_pair, score
from dormant.pairs import Pair
from dormant.search.layer0_objective import Detector, soft_logits


@pytest.fixture(scope="module")
def detector(tiny_pair: Pair) -> Detector:
    return Detector(read_layer0_pair(tiny_pair.base, tiny_pair.dormant))


def test_its_values_are_the_scorers(detector: Detector) -> None:
    candidates = [(5, 9, 40), (40, 9, 5)]
    torch.testing.assert_close(detector.evaluate(candidates), score(detector.pair, torch.tensor(candidates)).double())


@settings(max_examples=15, deadline=None)
@given(ids=st.lists(st.integers(3, 300), min_size=1, max_size=7))
def test_at_tokens_own_rows_soft_logits_are_the_hard_ones(detector: Detector, ids: list[int]) -> None:
    whole = torch.tensor([ids, ids[::-1]])
    for role in ("base", "dormant"):
        layer0 = getattr(detector.pair, role)
        soft = soft_logits(layer0, layer0.embedding[whole].float())
        torch.testing.assert_close(soft, attention_logits(layer0, whole), atol=1e-5, rtol=1e-5)


def test_its_slopes_are_those_of_the_score(detector: Detector) -> None:
    ids, step = torch.tensor([[5, 9, 40]]), 1e-3
    rows = {role: detector.table(role)[ids].float() for role in ("base", "dormant")}
    value, slopes = detector.value_and_slopes(rows)
    assert value.item() == pytest.approx(detector.evaluate([(5, 9, 40)]).item(), rel=1e-5)
    for role in rows:
        direction = slopes[role] / slopes[role].norm()
        moved = [
            detector.value_and_slopes({**rows, role: rows[role] + sign * step * direction})[0].item()
            for sign in (1, -1)
        ]
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(slopes[role].norm().item(), rel=2e-2)


def test_an_unknown_role_is_refused(detector: Detector) -> None:
    with pytest.raises(BadInput, match="a role is one of"):
        detector.table("teacher")
