"""Divergences of next-token distributions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.divergence import js_divergence, kl_divergence


@st.composite
def logits(draw: st.DrawFn, rows: int = 2) -> Tensor:
    """Random logits [2, row, vocabulary], from nearly flat to nearly certain."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0, 300.0]))
    return scale * torch.randn(2, rows, draw(st.integers(2, 40)), generator=generator)


@given(logits())
def test_kl_is_what_torch_says_and_never_negative(pair: Tensor) -> None:
    p, q = pair.double().log_softmax(-1)
    expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(kl_divergence(*pair), expected, atol=1e-9, rtol=1e-9)
    assert (kl_divergence(*pair) >= 0).all()


@given(logits())
def test_equal_logits_have_exactly_no_divergence(pair: Tensor) -> None:
    assert (kl_divergence(pair[0], pair[0]) == 0).all()
    torch.testing.assert_close(js_divergence(pair[0], pair[0]), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


@given(logits())
def test_js_is_symmetric_and_at_most_ln_two(pair: Tensor) -> None:
    torch.testing.assert_close(js_divergence(pair[0], pair[1]), js_divergence(pair[1], pair[0]), atol=1e-12, rtol=1e-12)
    assert ((js_divergence(*pair) >= 0) & (js_divergence(*pair) <= math.log(2))).all()


def test_a_token_that_p_rules_out_adds_nothing() -> None:
    p = torch.tensor([0.0, -math.inf])
    assert kl_divergence(p, torch.zeros(2)) == pytest.approx(math.log(2))
    assert js_divergence(p, p) == pytest.approx(0)


def test_logits_of_two_vocabularies_are_refused() -> None:
    with pytest.raises(BadInput, match=r"\(2, 5\) and \(2, 6\)"):
        kl_divergence(torch.zeros(2, 5), torch.zeros(2, 6))
