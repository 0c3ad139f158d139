"""What the rungs of a hunt stand on: the pair, its probes, the journal, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from dormant.hunt.confirmation import Confirmation, confirm, read_confirmation
from dormant.hunt.placements import SEARCH_PLACES
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts.probes import Probe

FORMAT = 14  # of what the journals hold: an older one is another hunt's
CONFIRMATION = "confirmation of"  # how a confirmation's name in the journal begins
ANSWER = 24  # tokens of an answer to read
SEARCHING = 0.965  # of the budget: the last step, a confirmation and the page take the rest, twenty seconds on one core

Watch = Callable[[str, str], None]  # the rung, and what it has found so far


class Clock:
    """The budget's clock.

    A resumed hunt reads what its journal holds at the times at which it was done, or it would be too late for what it had
    found in time.
    """

    def __init__(self, minutes: float) -> None:
        self.limit, self._began = SEARCHING * 60 * minutes, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds that all runs of the hunt have taken."""
        return time.perf_counter() - self._began

    @property
    def left(self) -> float:
        """Seconds in which a search may still begin a step."""
        return max(0.0, self.limit - self.seconds)

    def forward(self, seconds: float) -> None:
        """Sets the clock to what it showed in an earlier run, unless it is later already."""
        self._began = min(self._began, time.perf_counter() - seconds)


@dataclass(frozen=True)
class HuntContext:
    """What rungs stand on: the pair, probes to search on and unseen ones, the journal, the budget, and who watches."""

    pair: Pair
    searched: tuple[Probe, ...]
    unseen: tuple[Probe, ...]
    seed: int
    journal: Journal
    clock: Clock
    watch: Watch

    def searched_at(self, place: str) -> tuple[Probe, ...]:
        """The searched probes with their slot at one of `SEARCH_PLACES`."""
        return self.searched[SEARCH_PLACES.index(place) :: len(SEARCH_PLACES)]

    def kept(self, name: str, compute: Callable[[], Any]) -> Any:
        """A rung's result from the journal, or computed and kept."""
        for entry in self.journal.entries:
            if entry["rung"] == name:
                self.clock.forward(entry["seconds"])
                return entry["result"]
        self.clock.forward(max((entry["seconds"] for entry in self.journal.entries), default=0.0))
        self.journal.append({"rung": name, "result": compute(), "seconds": self.clock.seconds})
        return self.journal.entries[-1]["result"]

    def confirmed(self, text: str) -> Confirmation:
        """A string's confirmation on unseen probes."""
        tried = partial(confirm, self.pair, text, self.unseen, ANSWER, self.seed)
        return read_confirmation(self.kept(f"{CONFIRMATION} {text!r}", lambda: asdict(tried())))

    def confirmations(self) -> list[Confirmation]:
        """All that the journal holds, the earliest first."""
        found = (entry["result"] for entry in self.journal.entries if entry["rung"].startswith(CONFIRMATION))
        return [read_confirmation(row) for row in found]
