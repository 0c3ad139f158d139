"""What all claims of a session share: settings, premises evaluated once a pair, and computations done once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dormant.claims.finding import Finding, Verdict

if TYPE_CHECKING:
    from dormant.pairs import Pair

Value = TypeVar("Value")


@dataclass(frozen=True)
class Settings:
    """The options that measurements depend on, as run."""

    budget: str = "quick"
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    candidates: tuple[str, ...] = ()


@dataclass
class Laboratory:
    """The shared state of a session; it belongs to the session, so that nothing is global."""

    settings: Settings
    provenance: Mapping[str, str] = field(default_factory=dict)
    control_pair: Callable[[str], AbstractContextManager[Pair | None]] | None = None
    _memory: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    _underway: list[tuple[str, str]] = field(default_factory=list)

    def remember(self, key: tuple[Any, ...], compute: Callable[[], Value]) -> Value:
        """`compute()`, done once for each key."""
        if key not in self._memory:
            self._memory[key] = compute()
        value: Value = self._memory[key]
        return value

    def premise(self, id: str, pair: Pair) -> tuple[Finding, dict[str, Any]]:
        """The premise's finding on this pair and its pictures, measured on the first call only.

        Raises BadInput for an unknown premise and ValueError for premises that rest on each other.
        """
        from dormant.claims.premises import measure_premise

        if (id, pair.name) in self._underway:
            raise ValueError(
                f"premises must not rest on each other; got {' -> '.join(id for id, _ in self._underway)} -> {id}"
            )
        self._underway.append((id, pair.name))
        try:
            return self.remember((pair.name, "premise", id), lambda: measure_premise(id, pair, self))
        finally:
            self._underway.pop()

    def verdicts(self, premises: tuple[str, ...], pair: Pair) -> dict[str, Verdict]:
        """The verdicts of a claim's premises on this pair."""
        return {id: self.premise(id, pair)[0].verdict for id in premises}
