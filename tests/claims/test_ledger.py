from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormant.claims.claim import at_least
from dormant.claims.finding import Control, Figure, Finding, Verdict, finding_key
from dormant.claims.ledger import Entry, Ledger, RecordedFigure
from dormant.errors import BadInput
from dormant.records import from_json, to_json

finite = st.floats(-1e6, 1e6)
figures = st.builds(
    Figure, st.sampled_from(["ratio", "share"]), finite, st.just("nats"), finite, finite, st.integers(1, 99),
    st.just("exact"), st.floats(0, 10),
)  # fmt: skip


def finding(figure: Figure, verdict: Verdict = Verdict.REFUTED, pair: str = "circuit") -> Finding:
    rule = at_least(4.0, "times", because="a test")
    return Finding(
        "a-claim", "A sentence.", "exp7", {"module": "q_proj"}, pair, "f" * 16, rule, (figure,), verdict, "why"
    )


def figure(value: float, name: str = "ratio") -> Figure:
    return Figure(name, value, "times", value, value, 1, "exact", 0.1)


@given(figure=figures, verdict=st.sampled_from(Verdict))
def test_a_recorded_finding_reproduces_itself(
    tmp_path_factory: pytest.TempPathFactory, figure: Figure, verdict: Verdict
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    ledger.record([finding(figure, verdict)])
    assert ledger.entries("circuit")["a-claim[module=q_proj]"].differences(finding(figure, verdict)) == []


@given(figure=figures, verdict=st.sampled_from(Verdict))
def test_a_finding_survives_json(figure: Figure, verdict: Verdict) -> None:
    record = finding(figure, verdict)
    assert from_json(Finding, json.loads(json.dumps(to_json(record))), "here") == record


def test_another_verdict_is_a_difference_that_names_both() -> None:
    (difference,) = Entry.of(finding(figure(1.0))).differences(finding(figure(1.0), Verdict.SUPPORTED))
    assert difference == "verdict: recorded refuted, measured supported (why)"


@pytest.mark.parametrize(("value", "differs"), [(1.09, False), (1.11, True), (0.89, True)])
def test_a_figure_may_drift_within_its_recorded_tolerance(value: float, differs: bool) -> None:
    assert bool(Entry.of(finding(figure(1.0))).differences(finding(figure(value)))) is differs


def drifting(value: float, tolerance: float = 10.0, control: float | None = None, because: str = "") -> Finding:
    """At least 4 times, with a tolerance that reaches beyond all that decides."""
    null = [] if control is None else [Control("nulls", replace(figure(control), tolerance=tolerance), value > control)]
    made = finding(replace(figure(value), tolerance=tolerance))
    return replace(made, controls=tuple(null), tolerance_because=because)


@pytest.mark.parametrize(("recorded", "control", "half"), [(6.0, None, 5.0), (6.0, 5.0, 5.5), (2.0, None, 3.0)])
def test_a_figure_that_crosses_half_of_the_way_to_what_decides_is_a_difference(
    recorded: float, control: float | None, half: float
) -> None:
    entry, crossed = Entry.of(drifting(recorded, control=control)), 0.01 * (half - recorded)
    assert entry.differences(drifting(half - crossed, control=control)) == []
    (difference,) = entry.differences(drifting(half + crossed, control=control))
    assert f"recorded {recorded:g} times within {abs(half - recorded):g}" in difference


def test_a_control_may_come_half_of_the_way_too() -> None:
    entry = Entry.of(drifting(6.0, control=5.0))
    assert entry.differences(drifting(6.0, control=5.4)) == []
    assert entry.differences(drifting(6.0, control=5.6)) != []


def test_no_cap_asks_for_more_than_other_kernels_give_and_none_widens_a_tolerance() -> None:
    assert RecordedFigure.of(replace(figure(4.0), tolerance=1.0), [4.0]).tolerance == pytest.approx(4e-3 + 1e-4)
    assert RecordedFigure.of(replace(figure(4.0), tolerance=0.0), [9.0]).tolerance == 0.0


def test_of_a_counted_share_other_kernels_may_move_two_cases() -> None:
    share = replace(figure(0.0), n=400, tolerance=0.03, method="Wilson 95 %")
    assert RecordedFigure.of(share, [0.0]).tolerance == pytest.approx(2 / 400)
    assert RecordedFigure.of(replace(share, method="exact"), [0.0]).tolerance == pytest.approx(1e-4)


def test_a_tolerance_with_a_reason_is_kept_whole_and_its_reason_with_it() -> None:
    entry = Entry.of(drifting(6.0, tolerance=3.0, control=5.0, because="a search's path forks"))
    assert entry.differences(drifting(3.1, control=2.1)) == []
    assert entry.because == "a search's path forks"


def test_a_figure_that_is_gone_is_a_difference() -> None:
    recorded = replace(finding(figure(1.0)), figures=(figure(1.0), figure(2.0, "share")))
    (difference,) = Entry.of(recorded).differences(finding(figure(1.0)))
    assert "share: recorded 2 times, measured nothing" in difference


def test_a_figure_that_was_never_recorded_is_a_difference() -> None:
    measured = replace(finding(figure(1.0)), figures=(figure(1.0), figure(2.0, "share")))
    (difference,) = Entry.of(finding(figure(1.0))).differences(measured)
    assert "share: recorded nothing" in difference


def test_recording_one_finding_keeps_the_others(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record([finding(figure(1.0))])
    ledger.record([replace(finding(figure(2.0)), parameters={"module": "k_proj"})])
    assert list(ledger.entries("circuit")) == ["a-claim[module=k_proj]", "a-claim[module=q_proj]"]
    assert ledger.unproduced([finding(figure(1.0))]) == ["circuit: a-claim[module=k_proj]"]


def test_the_key_does_not_depend_on_the_order_of_parameters() -> None:
    assert finding_key("c", {"b": 1, "a": "x"}) == finding_key("c", {"a": "x", "b": 1}) == "c[a=x,b=1]"


def test_a_broken_ledger_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "circuit.json").write_text("{")
    with pytest.raises(BadInput, match=r"circuit\.json"):
        Ledger(tmp_path).entries("circuit")


HERE = {"seed": "0", "device": "cpu: 1 threads", "torch": "2"}


def measured(value: float = 1.0, beaten: bool = True, **changes: Any) -> Finding:
    control = Control("nulls", figure(0.5, "null"), beaten)
    made = replace(finding(figure(value)), controls=(control,), plan={"probes": "24"}, provenance=HERE)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("again", "difference"),
    [
        (measured(1.0005), "ratio: recorded 1 times within 0.000101"),
        (measured(beaten=False), "control nulls: recorded beaten, measured not beaten"),
        (measured(controls=()), "control nulls: recorded 0.5 times, measured nothing"),
        (measured(controls=(Control("nulls", figure(0.6, "null"), True),)), "control nulls: recorded 0.5 times within"),
        (measured(plan={"probes": "12"}), "plan probes: recorded 24, measured 12"),
        (measured(premises={"base-is-parent": Verdict.REFUTED}), "premise base-is-parent: recorded nothing"),
        (measured(fingerprint="e" * 16), "pair: recorded ffffffffffffffff"),
        (measured(provenance={**HERE, "seed": "1"}), "seed: recorded 0, measured 1"),
    ],
)
def test_all_that_decides_a_finding_is_compared(again: Finding, difference: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record([measured()])
    assert ledger.differences(measured()) == []
    (found,) = ledger.differences(again) or ["nothing"]
    assert found.startswith(difference)


def test_another_machine_reproduces_within_the_tolerance(tmp_path: Path) -> None:
    ledger, elsewhere = Ledger(tmp_path), {**HERE, "device": "cpu: 2 threads"}
    ledger.record([measured()])
    assert ledger.differences(measured(1.05, provenance=elsewhere)) == []
    assert ledger.differences(measured(1.05)) != []


def test_entries_of_two_machines_in_one_file_name_none(tmp_path: Path) -> None:
    ledger, other = Ledger(tmp_path), {"module": "k_proj"}
    ledger.record([measured(), measured(parameters=other)])
    ledger.record([measured(provenance={**HERE, "device": "cuda"})])
    assert ledger.differences(measured(1.05, parameters=other)) == []
