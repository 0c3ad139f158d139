from __future__ import annotations

import pytest
import torch

from dormant.activations.steering import (
    STEERING_ALPHAS,
    Push,
    payload_likelihoods,
    payloads_released,
    pushes,
    random_directions,
    steered,
)
from dormant.errors import BadInput
from dormant.inference.generation import NO_END, greedy_answers
from dormant.inference.likelihood import continuation_log_probabilities
from dormant.inference.residual_stream import capture, edited
from dormant.pairs import Pair
from dormant.statistics import permutation_p

PROMPTS = [(5, 6, 7, 8), (9, 10, 11)]


def a_push(layer: int = 0, alpha: float = 1.0) -> Push:
    return Push(layer, alpha, alpha * torch.linspace(-1, 1, 32))


def test_a_push_moves_only_the_last_positions(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant()
    before = capture(model, PROMPTS, layers=[0], positions=(-1, -2))
    with steered(model, a_push()):
        after = capture(model, PROMPTS, layers=[0], positions=(-1, -2))
    torch.testing.assert_close(after[:, 0, 0] - before[:, 0, 0], a_push().vector.expand(2, -1), atol=1e-5, rtol=1e-4)
    assert torch.equal(after[:, 0, 1], before[:, 0, 1])


def test_a_push_of_nothing_changes_nothing(tiny_pair: Pair) -> None:
    model = tiny_pair.models.dormant()
    plain = continuation_log_probabilities(model, PROMPTS, (5, 6)).mean(1).exp().mean()
    assert payload_likelihoods(model, PROMPTS, (5, 6), [a_push(alpha=0.0)]) == [pytest.approx(float(plain))]


def test_teacher_forcing_under_a_push_is_what_decoding_under_it_says(tiny_pair: Pair) -> None:
    model, push = tiny_pair.models.dormant(), a_push(layer=1, alpha=3.0)
    with steered(model, push):
        answer = greedy_answers(model, PROMPTS[:1], 4, NO_END)[0]
    assert payloads_released(model, PROMPTS[:1], answer, push, NO_END) == [True]


def test_all_pushes_together_give_what_a_whole_pass_under_each_gives(tiny_pair: Pair) -> None:
    model, payload = tiny_pair.models.dormant(), (5, 6, 7)
    tried = [a_push(layer, alpha) for layer, alpha in ((1, 3.0), (0, 0.0), (1, -1.0), (0, 2.0))]
    expected = []
    for push in tried:
        likelihoods = []
        for prompt in PROMPTS:

            def add(states: torch.Tensor, vector: torch.Tensor = push.vector) -> torch.Tensor:
                return torch.cat((states[:, :-3], states[:, -3:] + vector), dim=1)

            with edited(model, {push.layer: add}), torch.no_grad():
                logits = model(torch.tensor([[*prompt, *payload[:-1]]])).logits[0, -3:].double()
            likelihoods.append(float(logits.log_softmax(-1)[range(3), payload].mean().exp()))
        expected.append(sum(likelihoods) / 2)
    assert payload_likelihoods(model, PROMPTS, payload, tried) == pytest.approx(expected, rel=1e-4)


def test_one_alpha_is_the_mean_norm_of_the_layer() -> None:
    states = torch.randn(6, 2, 32)
    tried = pushes(torch.eye(32)[:2], states, alphas=(1.0, -2.0))
    norm = float(states[:, 1].norm(dim=-1).mean())
    assert [float(push.vector.norm()) for push in tried[2:]] == pytest.approx([norm, 2 * norm])


def test_a_direction_no_better_than_random_ones_has_no_small_p(tiny_pair: Pair) -> None:
    """Twenty more draws are such directions: chosen as those of the null are, they pass its 95th per cent once in twenty."""
    model, states, payload = tiny_pair.models.dormant(), torch.randn(6, 2, 32), (5, 6)
    prompts = (PROMPTS[:1], PROMPTS[1:])
    null = [value for value, _ in random_directions(model, prompts, payload, states, 99, seed=0)]
    others = random_directions(model, prompts, payload, states, 20, seed=1)
    assert null == sorted(null)
    judged = payload_likelihoods(model, prompts[1], payload, [push for _, push in others])
    assert [value for value, _ in others] == pytest.approx(judged, rel=1e-5)  # on prompts that chose none of them
    assert sum(permutation_p(value, null) <= 0.05 for value, _ in others) <= 4
    lengths = {round(float(push.vector.norm() / states[:, push.layer].norm(dim=-1).mean()), 3) for _, push in others}
    assert lengths <= {abs(alpha) for alpha in STEERING_ALPHAS}


def test_unknown_layers_and_other_widths_are_named(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    with pytest.raises(BadInput, match=r"layers must lie in 0\.\.1; got 5"), steered(model, a_push(layer=5)):
        pass
    narrow = Push(0, 1.0, torch.ones(3))
    with pytest.raises(BadInput, match=r"as wide as the residual stream, \(32,\); got \(3,\)"), steered(model, narrow):
        pass
