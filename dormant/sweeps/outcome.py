"""What a verb leaves in a job's folder: its result, whole, with a record of how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dormant.catalogue import PairDescription
from dormant.records import from_json, read_json

RESULT = "result"  # of a job, in its folder
OUTCOME = "outcome.json"  # in the result


@dataclass(frozen=True)
class Outcome:
    """How a verb ended on a pair: its exit status, and what that means."""

    verb: str
    pair: PairDescription
    status: int
    meaning: str


def outcome_of(folder: Path) -> Outcome | None:
    """How the verb ended in a job's folder; None before it has."""
    file = folder / RESULT / OUTCOME
    return from_json(Outcome, read_json(file), file) if file.exists() else None
