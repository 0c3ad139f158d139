"""The finding: the record of one claim on one pair, with its figures, verdict and reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from dormant.records import to_json
from dormant.statistics import Estimate

Parameter = str | int | float | bool
FINDINGS_FILE = "findings.json"  # where a run leaves them, in its reports folder
FINDINGS_SO_FAR = "findings.jsonl"  # a line each while it runs, or was killed


class Verdict(StrEnum):
    """The outcome of a claim on one pair (DESIGN section 3)."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True)
class Figure:
    """One measured number with its unit, interval, sample size, and the tolerance of a later run."""

    name: str
    value: float
    unit: str
    low: float
    high: float
    n: int
    method: str
    tolerance: float

    def __str__(self) -> str:
        """The value with its interval and unit."""
        interval = "" if self.low == self.high == self.value else f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.value:.4g}{interval} {self.unit}"


@dataclass(frozen=True)
class Rule:
    """The side of a threshold on which the deciding figure must lie, fixed before measuring."""

    comparator: str
    threshold: float
    unit: str
    because: str

    def holds(self, value: float) -> bool:
        """Whether a value keeps the rule."""
        return value >= self.threshold if self.comparator == "at least" else value <= self.threshold

    def __str__(self) -> str:
        """The rule as a person reads it."""
        return f"{self.comparator} {self.threshold:g} {self.unit}"


@dataclass(frozen=True)
class Control:
    """The same measurement where there can be no effect, and whether the claim's figure beats it."""

    name: str
    figure: Figure
    beaten: bool


@dataclass(frozen=True)
class PromptEffects:
    """A claim's own effect by prompt, by which two runs are compared in pairs. prompts: a digest of their texts, in order."""

    unit: str
    values: tuple[float, ...]
    prompts: str

    @classmethod
    def of(cls, values: Iterable[float], prompts: Sequence[str], unit: str) -> PromptEffects:
        """To five digits, which tell more than the next prompt does."""
        digest = sha256("\0".join(prompts).encode()).hexdigest()[:16]
        return cls(unit, tuple(float(f"{value:.5g}") for value in values), digest)


@dataclass(frozen=True)
class Finding:
    """The outcome of one claim on one pair with one set of parameters.

    `tolerance_because` is the claim's: why another machine's figures may lie further away than half of the way to a threshold.
    """

    claim: str
    sentence: str
    source: str
    parameters: Mapping[str, Parameter]
    pair: str
    fingerprint: str
    rule: Rule
    figures: tuple[Figure, ...]
    verdict: Verdict
    reason: str
    premises: Mapping[str, Verdict] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    pictures: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    plan: Mapping[str, str] = field(default_factory=dict)
    tolerance_because: str = ""
    told: bool = False  # whether the figure is measured or judged with the planted trigger or payload
    effects: PromptEffects | None = None
    seconds: float = 0.0  # of this claim; what several share counts where it ran first

    @property
    def key(self) -> str:
        """What the ledger knows the finding by: the claim and its parameters."""
        return finding_key(self.claim, self.parameters)

    @property
    def deciding(self) -> Figure:
        """The figure that the rule was applied to."""
        return self.figures[0]

    @property
    def keyed_record(self) -> dict[str, Any]:
        """The finding as JSON values, headed by its key."""
        return {"key": self.key, **to_json(self)}


def finding_key(claim: str, parameters: Mapping[str, Parameter]) -> str:
    """The ledger's key: claim id and parameters in sorted order, never a file or function name."""
    inside = ",".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    return f"{claim}[{inside}]" if inside else claim


def make_figure(name: str, estimate: Estimate, unit: str, tolerance: float) -> Figure:
    """A figure from an estimate; raises ValueError for a number that is not finite, which no rule can decide."""
    for number in (estimate.value, estimate.low, estimate.high, tolerance):
        if not math.isfinite(number):
            raise ValueError(f"a figure must be finite; got {number} in {name!r} ({estimate}); state a bound instead")
    return Figure(name, estimate.value, unit, estimate.low, estimate.high, estimate.n, estimate.method, tolerance)
