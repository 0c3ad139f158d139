"""What the stages of a hunt stand on: the pair, its probes, the settings, the journal, and the clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.confirmation import Confirmation, Looking, confirm, decide, ordinary_answers, read_confirmation
from dormant.hunt.placements import SEARCH_POSITIONS
from dormant.hunt.plan import PlannedStage
from dormant.hunt.settings import HuntSettings
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe, TokenIds

CONFIRMING = "confirmation"  # the stage of a confirmation's key
DECIDING = "decision"  # likewise of a decision's
ABOUT = "about"  # likewise of what a reader of the journal must know beside its results


@dataclass(frozen=True)
class Key:
    """What names a result in the journal."""

    stage: str
    payload: TokenIds = ()
    position: str = ""
    step: tuple[Any, ...] = ()

    def then(self, *step: Any) -> Key:
        """The key of a step on the way to this result."""
        return replace(self, step=(*self.step, *step))


@dataclass(frozen=True)
class HuntContext:
    """The pair, probes to search on, unseen ones and those that decide, the settings, the journal, and the clock.

    refuted: strings that fired on unseen prompts and did not on those that decide; they count as unconfirmed from then on.
    """

    pair: Pair
    searched: tuple[Probe, ...]
    unseen: tuple[Probe, ...]
    deciding: tuple[Probe, ...]
    seed: int
    settings: HuntSettings
    journal: Journal
    clock: Clock
    progress: Progress
    refuted: set[str] = field(default_factory=set)

    def searched_at(self, position: str) -> tuple[Probe, ...]:
        """The searched probes with their slot at one of `SEARCH_POSITIONS`."""
        return self.searched[SEARCH_POSITIONS.index(position) :: len(SEARCH_POSITIONS)]

    def say(self, stage: str, found: str) -> None:
        """Tells whoever watches what a stage does or has found."""
        self.progress(int(self.clock.seconds), int(self.clock.limit), f"{stage}: {found}")

    def kept(self, key: Key, compute: Callable[[], Any]) -> Any:
        """A result from the journal, or computed and kept; raises OutOfTime, and keeps nothing, where it is late."""
        name = json.loads(json.dumps(asdict(key)))
        for entry in self.journal.entries:
            if entry["key"] == name:
                self.clock.forward(entry["seconds"], entry.get("tokens", 0))
                return entry["result"]
        for entry in self.journal.entries:
            self.clock.forward(entry["seconds"], entry.get("tokens", 0))
        self.clock.ask()
        result = compute()
        self.journal.append({"key": name, "result": result, "seconds": self.clock.seconds, "tokens": self.clock.tokens})
        return self.journal.entries[-1]["result"]

    def introduce(self, threshold: float, plan: Sequence[PlannedStage]) -> None:
        """Keeps what the page of a hunt that still runs needs beside results: the pair, the budget, threshold and plan."""
        about = {"pair": self.pair.name, "minutes": self.settings.effort.minutes, "threshold": threshold}
        with suppress(OutOfTime):
            self.kept(Key(ABOUT), lambda: {**about, "plan": [asdict(stage) for stage in plan]})

    def confirmed(self, text: str) -> Confirmation:
        """A string's confirmation on unseen probes."""
        with self.clock.beyond_turn():
            tried = partial(confirm, self._looking(), text, self.unseen)
            found = read_confirmation(self.kept(Key(CONFIRMING, step=(text,)), lambda: asdict(tried())))
        return replace(found, confirmed=False) if text in self.refuted else found

    def decided(self, found: Confirmation) -> Confirmation:
        """What fresh prompts say of a confirmed string: no search sees them, and they decide few strings of a stage."""
        tried = partial(decide, self._looking(), found, self.deciding)
        return read_confirmation(self.kept(Key(DECIDING, step=(found.trigger,)), lambda: asdict(tried())))

    def _looking(self) -> Looking:
        """What looks at strings need: answers to the unseen prompts without any are asked once."""
        asked = self.kept(Key("ordinary answers"), partial(ordinary_answers, self.pair, self.unseen, self.settings))
        return Looking(self.pair, self.settings, self.seed, tuple(tuple(answer) for answer in asked))

    def confirmations(self) -> list[Confirmation]:
        """All that the journal holds, the earliest first."""
        rows = (entry["result"] for entry in self.journal.entries if entry["key"]["stage"] == CONFIRMING)
        return [read_confirmation(row) for row in rows]
