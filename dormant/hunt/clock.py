"""The budget's clock: every pass through a model asks it, and what is not finished when it is late is not kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from dormant.hunt.effort import Effort


class OutOfTime(Exception):
    """The budget is spent, or the hunt was stopped: what is not finished is not kept."""


class Clock:
    """The budget's clock.

    When a hunt resumes, the clock is set to the time at which each kept result was written.
    """

    def __init__(self, effort: Effort) -> None:
        """Starts it."""
        self.limit, self._began = effort.search_share * 60 * effort.minutes, time.perf_counter()
        self._searching, self._whole = self.limit, 60 * effort.minutes
        self.stopped = self.asked = False
        self.tokens = 0  # that the models have read, in all runs of the hunt

    @property
    def seconds(self) -> float:
        """Seconds that all runs of the hunt have taken."""
        return time.perf_counter() - self._began

    @property
    def left(self) -> float:
        """Seconds in which a search may still begin a step."""
        return max(0.0, self.limit - self.seconds)

    def late(self) -> bool:
        """Whether none are left."""
        self.asked = True
        return self.stopped or not self.left

    def ask(self) -> None:
        """Raises OutOfTime where it is late."""
        if self.late():
            raise OutOfTime

    def count(self, tokens: int) -> None:
        """Adds tokens that a model reads in a pass."""
        self.tokens += tokens

    def stop(self) -> None:
        """Makes it late at once."""
        self.stopped = True

    def turn(self, share: float) -> AbstractContextManager[None]:
        """Within it a share of the seconds left may be used."""
        return self._until(min(self.limit, self.seconds + share * self.left))

    def beyond_turn(self) -> AbstractContextManager[None]:
        """Within it all of the time for searches may be used: what a turn has found is looked at, whenever its turn ends."""
        return self._until(max(self.limit, self._searching))

    def reserve(self) -> AbstractContextManager[None]:
        """Within it the whole budget may be used: what searches leave is for the decision on what they found."""
        return self._until(max(self.limit, self._whole))

    @contextmanager
    def _until(self, limit: float) -> Iterator[None]:
        before, self.limit = self.limit, limit
        try:
            yield
        finally:
            self.limit = before

    def forward(self, seconds: float, tokens: int = 0) -> None:
        """Sets the clock to what it showed in an earlier run, unless it is later already."""
        self._began = min(self._began, time.perf_counter() - seconds)
        self.tokens = max(self.tokens, tokens)
