"""What claims about scans share: power decides whether finding nothing means anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from dormant.claims.builder import FindingBuilder
from dormant.claims.claim import Claim
from dormant.claims.finding import Verdict
from dormant.claims.session_state import ClaimSession, Settings
from dormant.pairs import Pair, Truth
from dormant.statistics import proportion_interval
from hypotheses.support import scans
from hypotheses.support.scans import AT_LEAST_HALF, TWIN, on_planted_pair, state_power, twin_value


def builder(pair: Pair, session: ClaimSession | None = None) -> FindingBuilder:
    claim = Claim("finds", "A scan finds.", "test", "behaviour", {"": AT_LEAST_HALF}, controls=(TWIN,))
    return FindingBuilder(claim, pair, {}, session or ClaimSession(Settings()))


@pytest.mark.parametrize(
    ("diverging", "found", "verdict"),
    [
        (0, 8, Verdict.REFUTED),
        (0, 5, Verdict.INCONCLUSIVE),
        (24, 8, Verdict.SUPPORTED),
        (24, 0, Verdict.SUPPORTED),
        (12, 0, Verdict.INCONCLUSIVE),
    ],
)
def test_finding_nothing_refutes_only_with_power(tiny_pair: Pair, diverging: int, found: int, verdict: Verdict) -> None:
    finding, share = builder(tiny_pair), proportion_interval(diverging, 24)
    finding.decide(share)
    state_power(finding, share, ("organism", (found, 8)), "triggers")
    settled = finding.settle({})
    assert settled.verdict is verdict
    assert f"the same scan finds {found} of 8 triggers planted in organism" in settled.reason
    assert {figure.name for figure in settled.figures} == {"finds", "power"}


def test_the_twins_value_is_computed_once_and_shared(tiny_pair: Pair) -> None:
    twin, opened = replace(tiny_pair, name="tiny-plain"), []

    @contextmanager
    def control_pair(name: str) -> Iterator[Pair]:
        opened.append(name)
        yield twin

    finding = builder(tiny_pair, ClaimSession(Settings(), control_pair=control_pair))
    assert [twin_value(finding, ("scan",), lambda pair: pair.name) for _ in range(3)] == ["tiny-plain"] * 3
    assert opened == ["tiny"]
    assert builder(twin, finding.session).once(("scan",), lambda: "again") == "tiny-plain"


@pytest.mark.parametrize(("verdict", "opened"), [(Verdict.SUPPORTED, 1), (Verdict.REFUTED, 0)])
def test_an_invalid_claim_needs_no_twin(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, opened: int
) -> None:
    entered = []

    @contextmanager
    def control_pair(name: str) -> Iterator[Pair]:
        entered.append(name)
        yield tiny_pair

    monkeypatch.setattr(scans, "premise_verdicts", lambda *arguments: {"base-is-parent": verdict})
    finding = builder(tiny_pair, ClaimSession(Settings(), control_pair=control_pair))
    assert (twin_value(finding, ("scan",), lambda pair: pair.name) is None) == (opened == 0)
    assert len(entered) == opened


def test_without_a_twin_there_is_no_control(tiny_pair: Pair) -> None:
    assert twin_value(builder(tiny_pair), ("scan",), lambda pair: pair.name) is None


def test_power_is_measured_where_something_is_planted(tiny_pair: Pair) -> None:
    planted = replace(tiny_pair, truth=Truth(True, "apple", "pie", "anywhere"))
    assert on_planted_pair(builder(planted), ("power",), lambda pair: pair.truth) == ("tiny", planted.truth)
    name, truth = on_planted_pair(builder(tiny_pair), ("power",), lambda pair: pair.truth)
    assert (name, truth is not None and truth.backdoored) == ("circuit", True)
