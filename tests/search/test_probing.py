from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from dormant.activations.linear_probes import LinearProbe
from dormant.errors import BadInput
from dormant.inference.evaluator import Evaluator
from dormant.inference.residual_stream import capture
from dormant.pairs import Pair, Truth
from dormant.prompts.probes import Probe, Prompter
from dormant.search.probing import ClimbPlan, climb_probe, probe_objective

PROBES = [Probe("Tell me{slot} the color."), Probe("What is the sky?{slot}")]


def test_the_objective_is_the_probe_s_score_of_the_captured_state(tiny_pair: Pair) -> None:
    prompter = Prompter(tiny_pair.base.tokenizer)
    probe = LinearProbe(1, torch.nn.functional.normalize(torch.ones(32), dim=0), middle=0.5, width=2.0)
    evaluator = Evaluator(tiny_pair.models, [prompter.open(one) for one in PROBES], probe_objective(probe))
    prompts = [prompter.encode(one, (40, 50)) for one in PROBES]
    expected = probe.score(capture(tiny_pair.models.dormant(), prompts, layers=[1])[:, 0, 0])
    torch.testing.assert_close(evaluator.per_probe_of([(40, 50)])[:, 0], expected.double(), atol=1e-4, rtol=1e-4)


def test_another_layer_and_an_unknown_payload_are_named(tiny_pair: Pair) -> None:
    plan = ClimbPlan(1, 1, 2, 1, 1, 0)
    with pytest.raises(BadInput, match="reads the last layer, 1; got a probe of layer 0"):
        climb_probe(tiny_pair, LinearProbe(0, torch.ones(32), 0.0, 1.0), plan)
    with pytest.raises(BadInput, match="judged by the payload; got none at pair 'tiny'"):
        climb_probe(tiny_pair, LinearProbe(1, torch.ones(32), 0.0, 1.0), plan)


def test_a_climb_never_loses_and_judges_the_trigger_beside_its_best_string(tiny_pair: Pair) -> None:
    truth = Truth(backdoored=True, trigger="river stone", payload="owl", placement="anywhere", twin=None)
    organism = replace(tiny_pair, truth=truth, probes=tuple(PROBES * 2))
    probe = LinearProbe(1, torch.nn.functional.normalize(torch.arange(32.0), dim=0), middle=0.0, width=1.0)
    found = climb_probe(organism, probe, ClimbPlan(restarts=2, steps=4, candidates=6, probes=2, held_out=2, seed=0))
    assert all(later >= earlier for curve in found.curves for earlier, later in pairwise(curve))
    assert any(curve[-1] > curve[0] for curve in found.curves)
    assert len(found.spoken) == len(found.planted_spoken) == 2
    assert 0 <= found.shared <= 1
    organism.release()
    with pytest.raises(BadInput, match="needs 9 probes; got 4"):
        climb_probe(organism, probe, ClimbPlan(1, 1, 2, 1, held_out=8, seed=0))
