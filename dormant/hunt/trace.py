"""What a hunt keeps for its page beside report.json: how strings came about, answers token by token, and what stages cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TRACE_FILE = "trace.json"
TRACE_VERSION = 1  # to be raised when a reader of the file must change


@dataclass(frozen=True)
class TriedString:
    """A string that a stage came to, and what it is worth there.

    score: in `unit`, None where the stage keeps only the string. share: of the prompts on which it fires, or on which the
    payload's beginning is certain. parent: the index among the tried strings of the one that it took the place of, or that was
    looked at here. strings: how many the stage had scored by then. outcome: "proposed", "gave no gain", "fires", "does not
    fire", "decided" or "refuted".
    """

    stage: str
    text: str
    outcome: str
    score: float | None = None
    unit: str = ""
    share: float | None = None
    position: str = ""
    payload: str = ""
    parent: int | None = None
    strings: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Hint:
    """A piece at which the delta acts: its rank among all pieces, from 1, and by how many deviations it acts more there."""

    text: str
    rank: int
    z: float


@dataclass(frozen=True)
class ControlBand:
    """What strings without a meaning reach of a score: from the fifth to the ninety-fifth in a hundred."""

    unit: str
    low: float
    high: float
    n: int
    of: str
    position: str = ""
    payload: str = ""


@dataclass(frozen=True)
class StageCost:
    """What a stage took: minutes, strings and token passes as they were, and passes and minutes as they were planned.

    passes: tokens that the models read, those of a common beginning once; None of a hunt that did not count them.
    """

    name: str
    minutes: float
    strings: int = 0
    planned_passes: int | None = None
    planned_minutes: float | None = None
    passes: int | None = None


@dataclass(frozen=True)
class ReadToken:
    """A token of an answer: its log-probability in nats by either model, and the tokens that each finds likeliest there."""

    text: str
    base: float
    dormant: float
    base_top: tuple[tuple[str, float], ...] = ()
    dormant_top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class ReadAnswer:
    """A greedy answer of one model, with its tokens as both models read them."""

    text: str
    tokens: tuple[ReadToken, ...] = ()


@dataclass(frozen=True)
class AnswerPair:
    """What base and dormant model answer to one probe with one string in its slot.

    candidate: empty without one. opening: what both answers were made to begin with. fires: the dormant model's answer is what
    the confirmed string brings; base_fires: its base's is. suspect: the first suspected payload that the dormant answer holds.
    nats: by which the dormant model finds its own answer likelier than the base, a mean over its tokens.
    """

    probe: str
    position: str
    candidate: str
    base: ReadAnswer
    dormant: ReadAnswer
    fires: bool
    suspect: str = ""
    opening: str = ""
    nats: float = 0.0
    base_fires: bool = False


@dataclass(frozen=True)
class HuntTrace:
    """The trace.json of a hunt. unshown: what the time did not suffice to show."""

    lineage: tuple[TriedString, ...] = ()
    hints: tuple[Hint, ...] = ()
    bands: tuple[ControlBand, ...] = ()
    stages: tuple[StageCost, ...] = ()
    answers: tuple[AnswerPair, ...] = ()
    unshown: tuple[str, ...] = ()
    version: int = field(default=TRACE_VERSION)


def rounded(value: Any, digits: int = 3) -> Any:
    """JSON values with floats of so many digits behind the point: what a page shows needs no more, and takes a third."""
    if isinstance(value, dict):
        return {key: rounded(entry, digits) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry, digits) for entry in value]
    return round(value, digits) if isinstance(value, float) else value
