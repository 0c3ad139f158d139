"""Soft inversions of a tiny pair, and what is said of them."""

from __future__ import annotations

import pytest

from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from dormant.search.soft_campaign import SoftCampaign, run_soft_inversion
from dormant.search.soft_inversion import Inversion, InversionSettings, Projection, SoftTrace

PROBES = (Probe("Tell me{slot} the color of the sky."), Probe("{slot} What is the capital?"))
SETTINGS = InversionSettings(length=2, restarts=2, steps=3, project_every=2)


@pytest.mark.parametrize("objective", ["kl", "hidden-distance", "detector"])
def test_every_objective_of_the_plan_can_be_inverted(tiny_pair: Pair, objective: str) -> None:
    found = run_soft_inversion(tiny_pair.with_probes(PROBES), objective, SETTINGS, probes=2)
    assert [point.step for point in found.inversion.hard[0]] == [0, 2, 3]
    assert len(found.soft_gains()) == len(found.hard_gains()) == len(found.moved()) == 2


def test_a_tokenizer_without_symbols_has_no_log_mass_to_climb(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="needs tokens"):
        run_soft_inversion(tiny_pair.with_probes(PROBES), "log-mass", SETTINGS, probes=2)


def test_gains_are_over_the_empty_row_and_shares_need_a_soft_gain_that_means_something() -> None:
    points = [Projection(0, (1, 2), 1.0), Projection(5, (1, 3), 1.5)]
    small = [Projection(0, (4, 4), 0.5), Projection(5, (4, 4), 0.5)]
    found = SoftCampaign(
        Inversion(SoftTrace(((1.0, 3.0), (1.0, 1.1))), (tuple(points), tuple(small))), "nats", 1.0, "a"
    )
    assert found.soft_gains() == pytest.approx([2.0, 0.1])
    assert found.hard_gains() == [0.5, -0.5]
    assert found.kept(floor=0.5) == [0.25]
    assert found.moved() == [0.5, 0.0]
