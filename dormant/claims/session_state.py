"""ClaimSession: what all claims of a test session share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dormant.progress import Progress
from dormant.pairs import Pair

Value = TypeVar("Value")


@dataclass(frozen=True)
class Settings:
    """The options on which measurements depend."""

    budget: str = "quick"
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    candidates: tuple[str, ...] = ()
    material: str = ""  # a folder whose prompt files replace the shipped ones


@dataclass
class ClaimSession:
    """The shared state of a test session: settings, results of shared computations, journals."""

    settings: Settings
    provenance: Mapping[str, str] = field(default_factory=dict)
    relatives: tuple[str, ...] = ()  # folders or hub ids of other models, among which a pair's own relatives may be
    control_pair: Callable[[str], AbstractContextManager[Pair | None]] | None = None
    journals: Path | None = None  # the folder of journals
    progress: Callable[[str, str], AbstractContextManager[Progress]] | None = None
    kept: set[Path] = field(default_factory=set)  # the journals that this session wrote or read
    _memory: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    underway: list[tuple[str, str]] = field(default_factory=list)  # premises that are being measured

    def remember(self, key: tuple[Any, ...], compute: Callable[[], Value]) -> Value:
        """The result of `compute()`, which runs once for each key."""
        if key not in self._memory:
            self._memory[key] = compute()
        value: Value = self._memory[key]
        return value
