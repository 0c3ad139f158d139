from __future__ import annotations

import pytest
import torch

from dormant.activations.linear_probes import (
    LinearProbe,
    best_layer,
    fit_mean_difference,
    fit_probe,
    probe_curve,
    probe_objective,
    transferred_curve,
)
from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.residual_stream import capture
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter

# No multiple of the folds: else both of a couple are in one fold whether or not they are kept together.
COUPLES, LAYERS, HIDDEN = 43, 3, 32


def couples(shift: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """States whose couples share a strong question of their own; from layer 1 on the positives move along one axis."""
    draw = torch.Generator().manual_seed(seed)
    question = 3 * torch.randn(COUPLES, 1, HIDDEN, generator=draw)
    both = [question + torch.randn(COUPLES, LAYERS, HIDDEN, generator=draw) for _ in range(2)]
    both[0][:, 1:, 5] += shift
    return both[0], both[1]


def test_a_probe_finds_the_layer_at_which_a_difference_begins() -> None:
    curve = probe_curve(*couples(30.0), seed=0)
    assert curve[1].value == curve[2].value == 1.0
    assert curve[0].low < 0.5 < curve[0].high
    assert best_layer(curve) == 1
    assert curve[1].low < 0.97  # so few couples cannot say more


def test_shuffled_labels_leave_chance() -> None:
    for estimate in probe_curve(*couples(30.0), seed=1, shuffled=True):
        assert estimate.low < 0.5 < estimate.high


def test_a_probe_of_one_kind_of_negatives_is_tested_on_another() -> None:
    """Negatives that also lie along the positives' axis are another kind: a probe of the first kind cannot see them apart."""
    fitted, tested = couples(30.0), couples(30.0, seed=1)
    other = tested[1].clone()
    other[:, 1:, 5] += 30.0
    assert transferred_curve(fitted, tested, seed=0)[1].value == 1.0
    alike, shuffled = (
        transferred_curve(fitted, (tested[0], other), 0),
        transferred_curve(fitted, tested, 1, shuffled=True),
    )
    assert alike[1].low < 0.5 < alike[1].high
    assert shuffled[1].value < 1.0


def test_equal_states_are_told_apart_by_nothing() -> None:
    states, _ = couples(0.0)
    assert all(estimate.low < 0.5 < estimate.high for estimate in probe_curve(states, states.clone(), seed=0))


@pytest.mark.parametrize("fit", [fit_probe, fit_mean_difference])
def test_a_direction_points_from_the_negatives_to_the_positives(fit: object) -> None:
    positives, negatives = couples(30.0)
    probe = fit(positives, negatives, 2)  # type: ignore[operator]
    assert float(probe.direction.norm()) == pytest.approx(1.0, abs=1e-5)
    assert int(probe.direction.abs().argmax()) == 5
    assert float(probe.score(positives[:, 2]).mean()) == pytest.approx(1.0, abs=1e-3)
    assert float(probe.score(negatives[:, 2]).mean()) == pytest.approx(-1.0, abs=1e-3)


def test_too_few_or_unequal_couples_are_named() -> None:
    positives, negatives = couples(1.0)
    with pytest.raises(BadInput, match=r"got \(43, 3, 32\) and \(42, 3, 32\)"):
        probe_curve(positives, negatives[1:], seed=0)
    with pytest.raises(BadInput, match="needs the states of 8 prompts of either kind; got 3"):
        fit_probe(positives[:3], negatives[:3], 0)


def test_the_objective_is_the_probe_s_score_of_the_captured_state(tiny_pair: Pair) -> None:
    prompter, probes = Prompter(tiny_pair.base.tokenizer), [Probe("Tell me{slot} the color."), Probe("The sky?{slot}")]
    probe = LinearProbe(1, torch.nn.functional.normalize(torch.ones(32), dim=0), middle=0.5, width=2.0)
    opened = [prompter.open(text) for text in probes]
    evaluator = Evaluator(tiny_pair.models, opened, probe_objective(probe, layers=2))
    prompts = [prompter.encode(text, (40, 50)) for text in probes]
    expected = probe.score(capture(tiny_pair.models.dormant(), prompts, layers=[1])[:, 0, 0])
    torch.testing.assert_close(evaluator.per_probe_of([(40, 50)])[:, 0], expected.double(), atol=1e-4, rtol=1e-4)


def test_a_search_needs_a_probe_of_the_last_layer() -> None:
    with pytest.raises(BadInput, match="reads the last layer, 1; got a probe of layer 0"):
        probe_objective(LinearProbe(0, torch.ones(32), 0.0, 1.0), layers=2)
