"""Heads, biases and ranks as shares, on made-up and on published deltas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dormant.pairs import Pair
from dormant.weights.biases import BiasAndWeight, delta_norms, delta_responses
from dormant.weights.delta_report import DeltaReport, TensorDelta
from dormant.weights.focus import focus
from dormant.weights.heads import HeadDelta
from dormant.weights.low_rank import delta_ranks, rank_of, remainder_edges
from dormant.weights.published import published_report
from dormant.weights.token_lens import name_of

QUERY = TensorDelta("q_proj", (32, 32), False, 5.0, 0.1, 1.0, 25.0, (4.0, 3.0))


def test_three_heads_of_equal_ones_hold_three_shares() -> None:
    even = focus(replace(QUERY, heads=tuple(HeadDelta(head, 2.0, 1.0, 0.5) for head in range(8))), "whole-delta")
    assert (even.held, even.even, even.heads_for(0.5)) == (3 / 8, 3 / 8, 4)


def test_a_delta_within_its_rounding_has_no_heads_to_choose() -> None:
    rounding = replace(QUERY, heads=tuple(HeadDelta(head, 1e-9 * head, 1.0, 0.5) for head in range(8)), rank=0)
    assert (focus(rounding, "whole-delta").chosen, focus(rounding, "whole-delta").preference) == ((), 0.0)
    assert len(focus(replace(rounding, rank=1), "whole-delta").chosen) == 3


@pytest.mark.parametrize("heads", [8, 28])
def test_three_heads_of_twice_the_others_energy_are_preferred_alike_among_8_and_28(heads: int) -> None:
    energies = [2.0 if head in (1, 4, 6) else 1.0 for head in range(heads)]
    found = focus(
        replace(QUERY, heads=tuple(HeadDelta(at, e**0.5, 1.0, 0.5) for at, e in enumerate(energies))), "whole-delta"
    )
    assert found.chosen == (1, 4, 6)
    assert found.preference == pytest.approx(2 / 3)


def test_no_head_is_preferred_where_all_are_even_or_all_are_chosen() -> None:
    for heads in (3, 8, 28):
        even = focus(
            replace(QUERY, heads=tuple(HeadDelta(head, 2.0, 1.0, 0.5) for head in range(heads))), "whole-delta"
        )
        assert even.preference == pytest.approx(0.5)


def test_leading_directions_count_a_head_by_its_structure() -> None:
    heads = (
        HeadDelta(0, 2.0, 2.0, 1.0),
        HeadDelta(1, 2.0, 0.5, 0.1),
        HeadDelta(2, 2.0, 0.5, 0.1),
        HeadDelta(3, 2.0, 0.5, 0.1),
    )
    assert focus(replace(QUERY, heads=heads), "leading-directions").shares[0] == pytest.approx(1 / 1.3)
    assert focus(QUERY, "whole-delta").chosen == ()


def test_the_published_focus_heads_are_3_10_and_15() -> None:
    delta = published_report("warmup-vs-qwen2").every_layer("q_proj")[0]
    whole, leading = (focus(delta, measure) for measure in ("whole-delta", "leading-directions"))
    assert set(whole.chosen) == set(leading.chosen) == {3, 10, 15}
    assert whole.held == pytest.approx((24.531**2 + 23.537**2 + 13.272**2) / 63.83**2, rel=0.01)


def test_the_published_key_bias_outweighs_its_weight_in_layer_0_only() -> None:
    norms = delta_norms(published_report("warmup-vs-qwen2"), "k_proj")
    assert norms.bias[0] == pytest.approx(28.76, abs=0.01)
    assert norms.weight[0] == pytest.approx(22.58, abs=0.01)
    assert norms.sizes()[0] == pytest.approx(72.4, abs=0.1)  # the plan's number: all layers together
    assert norms.share(1) > 0.5 > norms.share()


def test_nothing_changed_has_no_share() -> None:
    assert BiasAndWeight((0.0,), (0.0,)).share() == 0.0


def test_a_weights_response_is_its_root_mean_square_over_tokens(tiny_pair: Pair) -> None:
    found = delta_responses(tiny_pair.base, tiny_pair.dormant, "q_proj")
    assert found.bias == (0.0,)
    size = math.sqrt(tiny_pair.delta_report.tensors[name_of(0, "q_proj")].energy)
    assert found.weight[0] == pytest.approx(size, rel=0.3)  # unit-variance inputs on an isotropic delta


def test_ranks_are_read_from_the_report_where_it_knows_them() -> None:
    assert rank_of(replace(QUERY, rank=16)) == 16
    # Two singular values hold all the energy: what they leave is nothing, and both stand above it.
    assert rank_of(QUERY) == 2


def test_published_ranks_are_bounds_above_the_measured_edge() -> None:
    report = published_report("warmup-vs-qwen2.5")
    found, edges = delta_ranks(report), remainder_edges(report)
    assert (found.median, found.known, len(found.all)) == (16, False, 84)
    assert min(edges) == pytest.approx(0.0037, abs=2e-4)
    assert max(edges) == pytest.approx(0.0061, abs=2e-4)


def test_an_identical_pair_has_no_ranks(tiny_pair: Pair) -> None:
    report = tiny_pair.delta_report
    names = {name: replace(delta, identical=True) for name, delta in report.tensors.items()}
    assert delta_ranks(DeltaReport("a", "b", "c", names)).all == []
