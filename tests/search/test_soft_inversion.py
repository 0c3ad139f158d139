"""Soft inversion on an objective whose optimum is known, in the embedding space of two small models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import pytest
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.objectives import ROLES
from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from dormant.search.soft_inversion import (
    INVERSION_METHODS,
    Inversion,
    InversionReport,
    InversionSettings,
    Projection,
    SoftTrace,
    invert,
    run_soft_inversion,
)

VOCABULARY, HIDDEN = 40, 8
ALLOWED = torch.arange(5, VOCABULARY)
SETTINGS = InversionSettings(length=2, restarts=3, steps=60, project_every=20, rate=0.2, seed=1)


@dataclass
class Nearness:
    """Minus the squared distance of each model's rows from one target row of its own: the target token is the optimum."""

    target: int = 17
    roles: tuple[str, ...] = ROLES
    broken_at: float = float("inf")

    def table(self, role: str) -> Tensor:
        generator = torch.Generator().manual_seed(ROLES.index(role))
        return torch.randn(VOCABULARY, HIDDEN, generator=generator)

    def value_and_slopes(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        away = {role: rows[role] - self.table(role)[self.target] for role in ROLES}
        value = -torch.stack([part.pow(2).sum((-1, -2)) for part in away.values()]).sum(0).double()
        value = torch.where(value > self.broken_at, torch.nan, value)
        return value, {role: -2 * part for role, part in away.items()}

    def evaluate(self, candidates: Sequence[tuple[int, ...]]) -> Tensor:
        return self.value_and_slopes({role: self.table(role)[torch.tensor(candidates)] for role in ROLES})[0]


@pytest.mark.parametrize("method", ["mixture", "gumbel"])
def test_a_mixture_reaches_the_token_that_both_models_ask_for(method: str) -> None:
    found = invert(Nearness(), replace(SETTINGS, method=method, rate=0.5), ALLOWED)
    assert [found.best(restart).ids for restart in range(3)] == [(17, 17)] * 3


@pytest.mark.parametrize("method", INVERSION_METHODS)
def test_every_hard_value_is_that_of_its_ids(method: str) -> None:
    objective = Nearness()
    for row in invert(objective, replace(SETTINGS, method=method), ALLOWED).hard:
        assert [point.step for point in row] == [0, 20, 40, 60]
        assert [point.value for point in row] == objective.evaluate([point.ids for point in row]).tolist()
        assert all(5 <= token < VOCABULARY for point in row for token in point.ids)


@pytest.mark.parametrize("method", INVERSION_METHODS)
def test_a_seed_decides_the_run_and_the_soft_values_rise(method: str) -> None:
    first, second = (invert(Nearness(), replace(SETTINGS, method=method), ALLOWED) for _ in range(2))
    assert first == second
    assert all(values[-1] > values[0] for values in first.soft.values)
    assert len(first.soft.values) == 3
    assert len(first.soft.values[0]) == 60


def test_restarts_do_not_feel_each_other() -> None:
    """The first of one and the first of three start alike and move alike."""
    alone, together = (invert(Nearness(), replace(SETTINGS, restarts=n), ALLOWED) for n in (1, 3))
    assert alone.hard[0] == together.hard[0]


def test_a_displacement_is_shared_so_that_equal_models_stay_equal() -> None:
    @dataclass
    class Sham(Nearness):
        def table(self, role: str) -> Tensor:
            return super().table("base")

        def value_and_slopes(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            assert torch.equal(rows["base"], rows["dormant"])
            return super().value_and_slopes(rows)

    invert(Sham(), replace(SETTINGS, method="displacement"), ALLOWED)


def test_a_projection_may_become_the_new_start() -> None:
    settings = replace(SETTINGS, method="displacement", resume_from_projection=True)
    resumed, kept = (invert(Nearness(), replace(settings, resume_from_projection=on), ALLOWED) for on in (True, False))
    assert resumed.soft.values[0][20] == pytest.approx(resumed.hard[0][1].value)  # the step after starts on real tokens
    assert kept.soft.values[0][20] != pytest.approx(kept.hard[0][1].value)


def test_soft_and_hard_share_no_field() -> None:
    assert [field.name for field in fields(SoftTrace)] == ["values"]
    assert [field.name for field in fields(Inversion)] == ["soft", "hard"]


def test_what_cannot_run_is_refused() -> None:
    with pytest.raises(BadInput, match="allowed tokens"):
        invert(Nearness(), SETTINGS, ALLOWED[:0])
    with pytest.raises(BadInput, match="needs finite values"):
        invert(Nearness(broken_at=-30.0), SETTINGS, ALLOWED)
    with pytest.raises(BadInput, match="steps >= 1"):
        InversionSettings(length=2, restarts=1, steps=0)
    with pytest.raises(BadInput, match="method is one of"):
        InversionSettings(length=2, restarts=1, steps=1, method="beam")
    with pytest.raises(BadInput, match="rate > 0"):
        InversionSettings(length=2, restarts=1, steps=1, rate=0.0)


PROBES = (Probe("Tell me{slot} the color of the sky."), Probe("{slot} What is the capital?"))
SMALL = InversionSettings(length=2, restarts=2, steps=3, project_every=2)


@pytest.mark.parametrize("objective", ["kl", "hidden-distance", "detector"])
def test_every_objective_of_the_plan_can_be_inverted(tiny_pair: Pair, objective: str) -> None:
    found = run_soft_inversion(tiny_pair.with_probes(PROBES), objective, SMALL, probes=2)
    assert [point.step for point in found.inversion.hard[0]] == [0, 2, 3]
    assert len(found.soft_gains()) == len(found.hard_gains()) == len(found.moved()) == 2


def test_a_tokenizer_without_symbols_has_no_log_mass_to_maximise(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="needs tokens"):
        run_soft_inversion(tiny_pair.with_probes(PROBES), "log-mass", SMALL, probes=2)


def test_gains_are_over_the_empty_row_and_shares_need_a_soft_gain_that_means_something() -> None:
    points = (Projection(0, (1, 2), 1.0), Projection(5, (1, 3), 1.5))
    small = (Projection(0, (4, 4), 0.5), Projection(5, (4, 4), 0.5))
    found = InversionReport(Inversion(SoftTrace(((1.0, 3.0), (1.0, 1.1))), (points, small)), "nats", 1.0, "a")
    assert found.soft_gains() == pytest.approx([2.0, 0.1])
    assert found.hard_gains() == [0.5, -0.5]
    assert found.kept(floor=0.5) == [0.25]
    assert found.moved() == [0.5, 0.0]
