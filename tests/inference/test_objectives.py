"""Each objective against its definition, at its bounds, and its slope."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.divergence import js_divergence, kl_divergence
from dormant.inference.objectives import (
    OBJECTIVES,
    Objective,
    Readings,
    difference_in_differences,
    fires,
    hidden_distance,
    js_top_k,
    kl,
    log_mass,
    named_objective,
    over_probes,
    payload_likelihood,
    payload_over_base,
    stacked,
    top1_disagreement,
)

SHAPE = (2, 3, 20)  # probe, candidate, vocabulary
SEEDS = st.integers(0, 10_000)


def readings(seed: int, candidates: int = SHAPE[1], scale: float = 3.0) -> Readings:
    generator = torch.Generator().manual_seed(seed)
    shape = (SHAPE[0], candidates, SHAPE[2])
    logits, hidden = (scale * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return Readings(logits, -torch.rand(shape[:2], generator=generator, dtype=torch.float64), hidden)


def both(seed: int, same: bool = False) -> tuple[dict[str, Readings], dict[str, Readings]]:
    now = {"dormant": readings(seed), "base": readings(seed if same else seed + 1)}
    empty = {"dormant": readings(seed + 2, 1), "base": readings(seed + 2 if same else seed + 3, 1)}
    return now, empty


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_gives_one_value_a_probe_and_candidate(name: str) -> None:
    assert named_objective(name).value(*both(0)).shape == SHAPE[:2]


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"payload-likelihood"}))
def test_two_equal_models_diverge_nowhere(name: str) -> None:
    assert named_objective(name).value(*both(0, same=True)).abs().max() < 1e-12


@given(SEEDS)
def test_kl_is_that_of_the_divergences(seed: int) -> None:
    now, empty = both(seed)
    torch.testing.assert_close(kl().value(now, empty), kl_divergence(now["dormant"].logits, now["base"].logits))


@given(SEEDS, st.integers(1, SHAPE[2]))
def test_js_over_the_top_never_exceeds_the_whole_and_ends_there(seed: int, k: int) -> None:
    now, empty = both(seed)
    whole = js_divergence(now["dormant"].logits, now["base"].logits)
    top, all_tokens = (js_top_k(count).value(now, empty) for count in (k, SHAPE[2]))
    assert (top <= whole + 1e-9).all()
    assert (top >= 0).all()
    torch.testing.assert_close(all_tokens, whole)


@given(SEEDS)
def test_top1_disagreement_is_zero_exactly_where_both_name_one_token(seed: int) -> None:
    now, empty = both(seed)
    value = top1_disagreement().value(now, empty)
    agree = now["dormant"].logits.argmax(-1) == now["base"].logits.argmax(-1)
    assert torch.equal(value == 0, agree)
    assert (value <= 1).all()


def test_top1_disagreement_still_slopes_where_both_agree() -> None:
    logits = torch.tensor([[[2.0, 1.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    now = {"dormant": Readings(logits), "base": Readings(torch.tensor([[[2.0, 0.0, 1.0]]], dtype=torch.float64))}
    value = top1_disagreement().value(now, now)
    value.sum().backward()
    assert value.detach().item() == 0
    assert logits.grad is not None
    assert float(logits.grad[0, 0, 0]) < 0  # less of the common token is more disagreement


@given(SEEDS)
def test_log_mass_is_the_logarithm_of_summed_probabilities(seed: int) -> None:
    now, empty = both(seed)
    mass = {role: now[role].logits.softmax(-1)[..., [2, 5]].sum(-1).log() for role in now}
    expected = mass["dormant"] - 0.5 * mass["base"]
    torch.testing.assert_close(log_mass([5, 2, 2], base_penalty=0.5).value(now, empty), expected)


def test_payload_objectives_read_the_payload_and_the_second_takes_the_base_away() -> None:
    now, empty = both(0)
    dormant, base = now["dormant"].payload, now["base"].payload
    assert dormant is not None
    assert base is not None
    assert torch.equal(payload_likelihood().value({"dormant": now["dormant"]}, {}), dormant)
    assert torch.equal(payload_over_base().value(now, empty), dormant - base)


def test_a_string_fires_from_half_a_likelihood_a_token_on() -> None:
    assert fires(torch.tensor([0.4999, 0.5, 1.0]).log()).tolist() == [False, True, True]


def test_hidden_distance_is_euclidean_and_flat_at_zero() -> None:
    now, empty = both(0)
    distance = hidden_distance().value(now, empty)
    dormant, base = now["dormant"].hidden, now["base"].hidden
    assert dormant is not None
    assert base is not None
    torch.testing.assert_close(distance, (dormant - base).pow(2).sum(-1).sqrt())
    same = dormant.clone().requires_grad_()
    equal = {"dormant": Readings(same, hidden=same), "base": Readings(same, hidden=same.detach())}
    hidden_distance().value(equal, empty).sum().backward()
    assert same.grad is not None
    assert same.grad.isfinite().all()


@given(SEEDS)
def test_difference_in_differences_takes_away_what_the_words_do_to_the_base(seed: int) -> None:
    now, empty = both(seed)
    dormant, base = (
        kl_divergence(now[role].logits, empty[role].logits.expand(SHAPE).contiguous()) for role in ("dormant", "base")
    )
    torch.testing.assert_close(difference_in_differences().value(now, empty), dormant - base)


@pytest.mark.parametrize("make", [kl, js_top_k, difference_in_differences, lambda: log_mass([1, 4]), hidden_distance])
def test_slopes_are_those_of_the_values(make: Callable[[], Objective]) -> None:
    now, empty = both(3)

    def value(logits: Tensor, hidden: Tensor) -> Tensor:
        return make().value({"dormant": Readings(logits, hidden=hidden), "base": now["base"]}, empty)

    hidden = now["dormant"].hidden
    assert hidden is not None
    inputs = [now["dormant"].logits.clone().requires_grad_(), hidden.clone().requires_grad_()]
    used = [
        tensor if name in make().reads else tensor.detach()
        for name, tensor in zip(("logits", "hidden"), inputs, strict=True)
    ]
    assert torch.autograd.gradcheck(value, used)


def test_a_bound_is_reached_by_certain_and_different_answers() -> None:
    sure = torch.full((1, 1, 4), -1e3, dtype=torch.float64)
    first, second = (sure.clone().index_fill_(-1, torch.tensor([place]), 0.0) for place in (0, 1))
    now = {"dormant": Readings(first), "base": Readings(second)}
    assert float(js_top_k(1).value(now, now)) == pytest.approx(math.log(2))
    assert float(top1_disagreement().value(now, now)) == pytest.approx(1)


def test_stacked_objectives_stand_one_after_the_other_along_the_probes() -> None:
    now, empty = both(0)
    several = stacked([kl(), payload_likelihood()])
    assert several.reads == {"logits", "payload"}
    first, second = several.value(now, empty).split(SHAPE[0])
    torch.testing.assert_close(first, kl().value(now, empty))
    torch.testing.assert_close(second, payload_likelihood().value(now, empty))


def test_probes_are_reduced_by_mean_or_worst() -> None:
    values = torch.tensor([[1.0, 5.0], [3.0, 1.0]])
    assert over_probes(values).tolist() == [2.0, 3.0]
    assert over_probes(values, "worst").tolist() == [1.0, 1.0]
    with pytest.raises(BadInput, match="mean, worst"):
        over_probes(values, "median")


def test_what_cannot_be_an_objective_is_refused() -> None:
    with pytest.raises(BadInput, match="one of kl, js"):
        named_objective("l2")
    with pytest.raises(BadInput, match="needs tokens"):
        log_mass([])
    with pytest.raises(BadInput, match="reads some of"):
        Objective("odd", "nats", frozenset({"attention"}), ("dormant",), lambda now, empty: now["dormant"].logits)
    with pytest.raises(BadInput, match="got no payload"):
        payload_likelihood().value({"dormant": Readings(torch.zeros(1, 1, 2))}, {})
