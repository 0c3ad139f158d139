"""What a verb leaves in a job's folder: its result, whole, with a record of how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from dormant.catalogue import PairDescription
from dormant.records import read_text
from dormant.sweeps.store import Place

RESULT = "result"  # of a job, in its folder
OUTCOME = "outcome.json"  # in the result


@dataclass(frozen=True)
class Outcome:
    """How a verb ended on a pair: its exit status, and what that means."""

    verb: str
    pair: PairDescription
    status: int
    meaning: str


def outcome_of(place: Place) -> Outcome | None:
    """How the verb of a job ended; None before it has."""
    text = place.read(f"{RESULT}/{OUTCOME}")
    return None if text is None else read_text(Outcome, text, f"{RESULT}/{OUTCOME} of {place}")
