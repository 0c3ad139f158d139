"""The recorded findings that later runs must reproduce: one JSON file a pair, compared figure by figure."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormant.claims.finding import Figure, Finding, Verdict
from dormant.errors import BadInput

HOW_TO_ACCEPT = "to accept what was measured, run again with --ledger-update and commit the ledger"


@dataclass(frozen=True)
class RecordedFigure:
    """A figure as the ledger keeps it, with how far a later one may lie from it."""

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
        """What a finding does not reproduce, each as recorded and measured; empty when it reproduces everything."""
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

    def to_dict(self) -> dict[str, Any]:
        return {"verdict": str(self.verdict), "figures": {name: vars(figure) for name, figure in self.figures.items()}}


@dataclass(frozen=True)
class Ledger:
    """A folder of recorded findings for one budget: what costs more work is another record."""

    folder: Path

    def file(self, pair: str) -> Path:
        """The file of a pair."""
        return self.folder / f"{pair}.json"

    def entries(self, pair: str) -> dict[str, Entry]:
        """The pair's entries by finding key; empty without a record. Raises BadInput naming an unreadable file."""
        path = self.file(pair)
        if not path.exists():
            return {}
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return {
                key: Entry(
                    Verdict(entry["verdict"]),
                    {name: RecordedFigure(**figure) for name, figure in entry["figures"].items()},
                )
                for key, entry in record["findings"].items()
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"a ledger file must hold findings with verdict and figures; got {error!r} at {path}; "
                "restore it from version control or delete it and record anew"
            ) from error

    def record(self, findings: Iterable[Finding]) -> list[Path]:
        """Write these findings over their entries, whole files at once, and return the files; others stay."""
        by_pair: dict[str, list[Finding]] = {}
        for finding in findings:
            by_pair.setdefault(finding.pair, []).append(finding)
        written = []
        for pair, fresh in sorted(by_pair.items()):
            entries = self.entries(pair) | {finding.key: Entry.of(finding) for finding in fresh}
            record = {
                "pair": pair,
                "fingerprint": fresh[0].fingerprint,
                "findings": {key: entries[key].to_dict() for key in sorted(entries)},
            }
            write_atomically(self.file(pair), json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            written.append(self.file(pair))
        return written

    def unproduced(self, findings: Iterable[Finding]) -> list[str]:
        """Entries of the pairs that ran which no finding produced, as `pair: key`."""
        produced: dict[str, set[str]] = {}
        for finding in findings:
            produced.setdefault(finding.pair, set()).add(finding.key)
        return [
            f"{pair}: {key}" for pair, keys in sorted(produced.items()) for key in self.entries(pair) if key not in keys
        ]


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all; raises BadInput where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp gives 600, which a colleague could not read
        os.replace(temporary, path)
    except OSError as error:
        raise BadInput(
            f"the folder must be writable; got {error.strerror} at {path}; free it or name another folder"
        ) from error
