"""The ledger: recorded findings that later runs must reproduce; one JSON file a pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dormant.claims.finding import Figure, Finding, Verdict
from dormant.records import from_json, read_json, write_json

HOW_TO_ACCEPT = "to accept what was measured, run again with --ledger-update and commit the ledger"


@dataclass(frozen=True)
class RecordedFigure:
    """A figure as the ledger keeps it, with the tolerance of later ones."""

    value: float
    unit: str
    tolerance: float

    def admits(self, figure: Figure) -> bool:
        """Whether a figure measured now agrees with the one recorded."""
        return figure.unit == self.unit and abs(figure.value - self.value) <= self.tolerance


@dataclass(frozen=True)
class Entry:
    """A finding as the ledger keeps it."""

    verdict: Verdict
    figures: Mapping[str, RecordedFigure]

    @classmethod
    def of(cls, finding: Finding) -> Entry:
        """What the ledger keeps of a finding."""
        return cls(
            finding.verdict,
            {figure.name: RecordedFigure(figure.value, figure.unit, figure.tolerance) for figure in finding.figures},
        )

    def differences(self, finding: Finding) -> list[str]:
        """What the finding does not reproduce, a phrase each with recorded and measured; empty if it reproduces all."""
        found = []
        if finding.verdict is not self.verdict:
            found.append(f"verdict: recorded {self.verdict}, measured {finding.verdict} ({finding.reason})")
        measured = {figure.name: figure for figure in finding.figures}
        for name in sorted({*self.figures, *measured}):
            recorded, figure = self.figures.get(name), measured.get(name)
            if figure is None and recorded is not None:
                found.append(
                    f"{name}: recorded {recorded.value:.6g} {recorded.unit}, measured nothing: the figure is gone"
                )
            elif recorded is None and figure is not None:
                found.append(f"{name}: recorded nothing, measured {figure}")
            elif recorded is not None and figure is not None and not recorded.admits(figure):
                found.append(
                    f"{name}: recorded {recorded.value:.6g} {recorded.unit} within {recorded.tolerance:.3g}, measured {figure}"
                )
        return found


@dataclass(frozen=True)
class RecordedPair:
    """The file of one pair: its fingerprint when it was recorded, and its entries by finding key."""

    pair: str
    fingerprint: str
    findings: Mapping[str, Entry] = field(repr=False)


@dataclass(frozen=True)
class Ledger:
    """The folder of recorded findings for one budget."""

    folder: Path

    def file(self, pair: str) -> Path:
        """The file of a pair."""
        return self.folder / f"{pair}.json"

    def entries(self, pair: str) -> dict[str, Entry]:
        """The pair's entries by finding key; empty without a record. Raises BadInput naming an unreadable file."""
        path = self.file(pair)
        return dict(from_json(RecordedPair, read_json(path), path).findings) if path.exists() else {}

    def record(self, findings: Iterable[Finding]) -> list[Path]:
        """Write these findings over their entries, keep all other entries, and return the files."""
        by_pair: dict[str, list[Finding]] = {}
        for finding in findings:
            by_pair.setdefault(finding.pair, []).append(finding)
        written = []
        for pair, fresh in sorted(by_pair.items()):
            entries = self.entries(pair) | {finding.key: Entry.of(finding) for finding in fresh}
            ordered = {key: entries[key] for key in sorted(entries)}
            write_json(self.file(pair), RecordedPair(pair, fresh[0].fingerprint, ordered))
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
