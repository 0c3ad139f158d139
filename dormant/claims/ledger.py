"""The ledger: recorded findings that later runs must reproduce; one JSON file a pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from dormant.claims.finding import Figure, Finding, Verdict
from dormant.records import from_json, read_json, write_json

SAME_MACHINE = 1e-4  # of a figure's value: the same kernels, threads and versions compute a fixed seed's figures again
SMALLEST = 1e-6  # below which a figure is rounding
# What other kernels move, of a figure's value and at all (nats, and no less than nothing in any other unit): float32 logits of
# two processors differ by 1e-5 of their size and a divergence of them by some 1e-4. No cap asks for more agreement than this.
OTHER_KERNELS, OTHER_KERNELS_AT_ALL = 1e-3, 1e-4
OTHER_KERNELS_CASES = 2  # of a counted share, that fall the other way: seen was one of 448 sampled answers
SHARES = ("Wilson", "exact bound")  # the methods of counted shares
MACHINE = ("device", "processor", "kernels", "dtype", "torch", "transformers", "numpy")  # of a finding's provenance
HOW_TO_ACCEPT = "to accept what was measured, run again with --ledger-update and commit the ledger"


@dataclass(frozen=True)
class RecordedFigure:
    """A figure as the ledger keeps it, with how far one of another machine may lie from it."""

    value: float
    unit: str
    tolerance: float

    @classmethod
    def of(cls, figure: Figure, edges: Iterable[float] = ()) -> RecordedFigure:
        """What the ledger keeps of a measured figure: its tolerance reaches at most half of the way to the nearest of `edges`.

        Where that is less than other kernels move, what they move counts.
        """
        half = min((abs(figure.value - edge) / 2 for edge in edges), default=figure.tolerance)
        moved = OTHER_KERNELS * abs(figure.value) + OTHER_KERNELS_AT_ALL
        if figure.method.startswith(SHARES):
            moved = max(moved, OTHER_KERNELS_CASES / figure.n)
        return cls(figure.value, figure.unit, min(figure.tolerance, max(half, moved)))

    def differences(self, name: str, figure: Figure | None, same_machine: bool) -> list[str]:
        """How a figure fails to reproduce this one, as recorded and measured; empty when it does."""
        if figure is None:
            return [f"{name}: recorded {self.value:.6g} {self.unit}, measured nothing: the figure is gone"]
        allowed = self.tolerance
        if same_machine:
            allowed = min(allowed, SAME_MACHINE * abs(self.value) + SMALLEST)
        if figure.unit == self.unit and abs(figure.value - self.value) <= allowed:
            return []
        return [f"{name}: recorded {self.value:.6g} {self.unit} within {allowed:.3g}, measured {figure}"]


@dataclass(frozen=True)
class RecordedControl:
    """A control as the ledger keeps it: a broken control would else be invisible."""

    figure: RecordedFigure
    beaten: bool


@dataclass(frozen=True)
class Entry:
    """A finding as the ledger keeps it. What an older record does not hold is None, and is not compared.

    `because` is the claim's reason why its tolerances may reach further than its threshold and its controls.
    """

    verdict: Verdict
    figures: Mapping[str, RecordedFigure]
    controls: Mapping[str, RecordedControl] | None = None
    premises: Mapping[str, Verdict] | None = None
    plan: Mapping[str, str] | None = None
    because: str = ""

    @classmethod
    def of(cls, finding: Finding) -> Entry:
        """What the ledger keeps of a finding.

        The deciding figure may drift half of the way to its threshold or to its nearest control, and a control half of the
        way to that figure: two that agree within their tolerances then tell the same story.
        """
        deciding, argued = finding.deciding, bool(finding.tolerance_because)
        beside = [control.figure for control in finding.controls if control.figure.unit == deciding.unit]
        edges = [] if argued else [finding.rule.threshold, *(figure.value for figure in beside)]
        figures = {figure.name: RecordedFigure.of(figure) for figure in finding.figures}
        return cls(
            finding.verdict,
            {**figures, deciding.name: RecordedFigure.of(deciding, edges)},
            {
                name: RecordedControl(
                    RecordedFigure.of(figure, [deciding.value] if figure in beside and not argued else ()), beaten
                )
                for name, figure, beaten in (
                    (control.name, control.figure, control.beaten) for control in finding.controls
                )
            },
            dict(finding.premises),
            dict(finding.plan),
            finding.tolerance_because,
        )

    def differences(self, finding: Finding, same_machine: bool = False) -> list[str]:
        """What a finding does not reproduce, each as recorded and measured; empty when it reproduces everything.

        On the same machine figures must agree to `SAME_MACHINE` of their value, on another one within their tolerance.
        """
        found = []
        if finding.verdict is not self.verdict:
            found.append(f"verdict: recorded {self.verdict}, measured {finding.verdict} ({finding.reason})")
        measured = {figure.name: figure for figure in finding.figures}
        for name, kept in sorted(self.figures.items()):
            found += kept.differences(name, measured.get(name), same_machine)
        for name in sorted(measured.keys() - self.figures.keys()):
            found.append(f"{name}: recorded nothing, measured {measured[name]}")
        if self.controls is not None:
            # A control is the same measurement as the deciding figure, and drifts as far.
            drifts = {figure.unit: figure.tolerance for figure in list(self.figures.values())[:1]}
            found += _control_differences(finding, self.controls, drifts, same_machine)
        if self.premises is not None:
            found += _unequal("premise", self.premises, finding.premises, {*self.premises, *finding.premises})
        plan = (
            self.plan or {}
        )  # readings share a computation, and only the one that ran it names that computation's amounts
        found += _unequal("plan", plan, finding.plan, plan.keys() & finding.plan.keys())
        return found


def _control_differences(
    finding: Finding, controls: Mapping[str, RecordedControl], drifts: Mapping[str, float], same_machine: bool
) -> list[str]:
    """drifts: by unit, how far the deciding figure may lie from its record on another machine."""
    found, measured = list[str](), {control.name: control for control in finding.controls}
    for name, recorded in sorted(controls.items()):
        control = measured.get(name)
        tolerance = max(recorded.figure.tolerance, drifts.get(recorded.figure.unit, 0.0))
        kept = replace(recorded.figure, tolerance=tolerance)
        found += kept.differences(f"control {name}", control.figure if control else None, same_machine)
        # On another machine a tie may fall the other way; where a control decides, the verdict says so.
        if same_machine and control is not None and control.beaten != recorded.beaten:
            found.append(f"control {name}: recorded {_said(recorded.beaten)}, measured {_said(control.beaten)}")
    for name in sorted(measured.keys() - controls.keys()):
        found.append(f"control {name}: recorded nothing, measured {measured[name].figure}")
    return found


def _unequal(what: str, recorded: Mapping[str, str], measured: Mapping[str, str], names: Set[str]) -> list[str]:
    both = ((name, recorded.get(name, "nothing"), measured.get(name, "nothing")) for name in sorted(names))
    return [f"{what} {name}: recorded {old}, measured {new}" for name, old, new in both if old != new]


def _said(beaten: bool) -> str:
    return "beaten" if beaten else "not beaten"


@dataclass(frozen=True)
class RecordedPair:
    """The file of one pair: its fingerprint, seed and machine when it was recorded, and its entries by finding key.

    `machine` is empty where entries of several machines stand together: their figures are compared by tolerance.
    """

    pair: str
    fingerprint: str
    findings: Mapping[str, Entry] = field(repr=False)
    seed: str | None = None
    machine: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """The folder of recorded findings for one budget."""

    folder: Path

    def file(self, pair: str) -> Path:
        """The file of a pair."""
        return self.folder / f"{pair}.json"

    def recorded(self, pair: str) -> RecordedPair | None:
        """The pair's file; None without one. Raises BadInput naming an unreadable file."""
        path = self.file(pair)
        if not path.exists():
            return None
        state = path.stat()
        return _read_state(path, (state.st_ino, state.st_mtime_ns, state.st_size))

    def entries(self, pair: str) -> dict[str, Entry]:
        """The pair's entries by finding key; empty without a record. Raises BadInput naming an unreadable file."""
        recorded = self.recorded(pair)
        return dict(recorded.findings) if recorded else {}

    def differences(self, finding: Finding) -> list[str] | None:
        """What a finding does not reproduce of its entry and of the pair that it was recorded on; None without an entry."""
        recorded = self.recorded(finding.pair)
        entry = recorded.findings.get(finding.key) if recorded else None
        if recorded is None or entry is None:
            return None
        found = []
        if recorded.fingerprint != finding.fingerprint:
            found.append(f"pair: recorded {recorded.fingerprint}, measured {finding.fingerprint}: other checkpoints")
        if recorded.seed not in (None, finding.provenance.get("seed")):
            found.append(f"seed: recorded {recorded.seed}, measured {finding.provenance.get('seed')}")
        return found + entry.differences(finding, recorded.machine == machine_of(finding))

    def record(self, findings: Iterable[Finding]) -> list[Path]:
        """Write these findings over their entries, whole files at once, and return the files; others stay.

        Entries of other checkpoints or of another seed are dropped. The file names no machine if its entries come from
        several.
        """
        by_pair: dict[str, list[Finding]] = {}
        for finding in findings:
            by_pair.setdefault(finding.pair, []).append(finding)
        written = []
        for pair, fresh in sorted(by_pair.items()):
            before, newest = self.recorded(pair), fresh[0]
            seed, machine = newest.provenance.get("seed"), machine_of(newest)
            entries = {finding.key: Entry.of(finding) for finding in fresh}
            if before and before.fingerprint == newest.fingerprint and before.seed in (None, seed):
                kept = {key: entry for key, entry in before.findings.items() if key not in entries}
                machine = machine if not kept or before.machine == machine else {}
                entries |= kept
            ordered = {key: entries[key] for key in sorted(entries)}
            write_json(self.file(pair), RecordedPair(pair, newest.fingerprint, ordered, seed, machine))
            written.append(self.file(pair))
        return written

    def unproduced(self, findings: Iterable[Finding]) -> list[str]:
        """The entries that no finding produced, of pairs that have findings, as `pair: key`."""
        produced: dict[str, set[str]] = {}
        for finding in findings:
            produced.setdefault(finding.pair, set()).add(finding.key)
        return [
            f"{pair}: {key}" for pair, keys in sorted(produced.items()) for key in self.entries(pair) if key not in keys
        ]


@lru_cache(maxsize=32)
def _read_state(path: Path, _state: tuple[int, int, int]) -> RecordedPair:
    """The file, read again only where it has changed: each claim asks for it, and reading takes longer than many claims."""
    return from_json(RecordedPair, read_json(path), path)


def machine_of(finding: Finding) -> dict[str, str]:
    """What decides a figure's last digits: device, processor, kernels, threads, dtype and versions; empty where unknown."""
    return {name: finding.provenance[name] for name in MACHINE if name in finding.provenance}
