"""The one shape of a hunt's stages, and how each narrows many strings down to few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from dormant.hunt.clock import OutOfTime
from dormant.hunt.confirmation import Confirmation
from dormant.hunt.context import HuntContext
from dormant.hunt.payloads import Suspect
from dormant.hunt.vocabulary import Pieces, Vocabulary

String = TypeVar("String")
Scorer = Callable[[Sequence[String]], Tensor]  # one value a string, larger is better


@dataclass(frozen=True)
class ScoredPieces:
    """A string of pieces: the log-odds of a payload's beginning, a mean over prompts, and the share on which it is certain."""

    pieces: Pieces
    odds: float
    certain: float

    @property
    def text(self) -> str:
        """The string that the pieces are when they stand one behind the other."""
        return "".join(self.pieces).strip()


@dataclass(frozen=True)
class SearchPath:
    """The way from string to string by single changes, for one payload at one position."""

    payload: str
    position: str
    path: tuple[ScoredPieces, ...]


@dataclass(frozen=True)
class StageResult:
    """The string that fires on unseen prompts, if one does, the steps in sentences, and how many strings were scored."""

    confirmed: Confirmation | None
    sentences: tuple[str, ...] = ()
    evaluations: int = 0
    record: tuple[SearchPath, ...] = ()


class Stage(Protocol):
    """One way of searching for a string that fires; it reads from the journal what an earlier run has done.

    seeks_payload: whether it has nothing to do without a suspected payload.
    """

    name: str
    seeks_payload: bool

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """Searches part by part, such as position by position; the first that confirms a string ends the stage.

        Raises OutOfTime; what was found before stays. suspects: those whose triggers are sought, the most suspicious first.
        """
        ...


def run_stage(
    stage: Stage, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary
) -> tuple[StageResult, bool]:
    """All parts of a stage together, or those for which the time sufficed, and whether it did."""
    whole, parts = StageResult(None), stage.parts(context, suspects, vocabulary)
    while whole.confirmed is None:
        try:
            part = next(parts, None)
        except OutOfTime:
            return whole, False
        if part is None:
            break
        whole = StageResult(
            part.confirmed, (*whole.sentences, *part.sentences), whole.evaluations + part.evaluations,
            (*whole.record, *part.record),
        )  # fmt: skip
    return whole, True


def successive_halving(
    strings: Sequence[String],
    scorers: Sequence[Scorer[String]],
    keep: Sequence[int],
) -> tuple[list[String], list[float]]:
    """The strings that are left when each scorer in turn keeps its best, and their values by the last, the best first.

    Cheap scorers come first: few prompts, then all.
    """
    left, values = list(strings), list[float]()
    for scorer, kept in zip(scorers, keep, strict=True):
        best = scorer(left).topk(min(kept, len(left)))
        left, values = [left[index] for index in best.indices.tolist()], list(best.values.tolist())
    return left, values
