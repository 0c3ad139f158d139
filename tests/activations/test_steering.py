from __future__ import annotations

import pytest
import torch

from dormant.activations.steering import Push, payload_likelihoods, payloads_released, pushes, random_push, steered
from dormant.errors import BadInput
from dormant.inference.generation import NO_END, greedy_answers
from dormant.inference.likelihood import continuation_log_probabilities
from dormant.inference.residual_stream import capture
from dormant.pairs import Pair

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
    with steered(model, push, last=4):
        chosen = continuation_log_probabilities(model, PROMPTS[:1], answer)[0]
        logits = model(torch.tensor([[*PROMPTS[0], *answer[:-1]]])).logits[0, -4:].double()
    torch.testing.assert_close(chosen, logits.log_softmax(-1).max(-1).values, atol=1e-5, rtol=1e-4)


def test_one_alpha_is_the_mean_norm_of_the_layer() -> None:
    states = torch.randn(6, 2, 32)
    tried = pushes(torch.eye(32)[:2], states, alphas=(1.0, -2.0))
    norm = float(states[:, 1].norm(dim=-1).mean())
    assert [float(push.vector.norm()) for push in tried[2:]] == pytest.approx([norm, 2 * norm])


def test_a_random_push_is_as_long_and_another_way(tiny_pair: Pair) -> None:
    push, other = a_push(), random_push(a_push(), seed=0)
    assert float(other.vector.norm()) == pytest.approx(float(push.vector.norm()), rel=1e-5)
    assert abs(float(torch.cosine_similarity(push.vector, other.vector, dim=0))) < 0.7


def test_unknown_layers_and_other_widths_are_named(tiny_pair: Pair) -> None:
    model = tiny_pair.models.base()
    with pytest.raises(BadInput, match=r"layers must lie in 0\.\.1; got 5"), steered(model, a_push(layer=5)):
        pass
    narrow = Push(0, 1.0, torch.ones(3))
    with pytest.raises(BadInput, match=r"as wide as the residual stream, \(32,\); got \(3,\)"), steered(model, narrow):
        pass
