"""What a claim declares before it measures, and the decorator that makes a claim of a test function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from dormant.claims.finding import Parameter, Rule

CLAIM_FAMILIES = ("premises", "weights", "layer0", "behaviour", "activations", "search", "detection")
NEEDS = ("deltas", "weights", "models")  # each includes those before it
Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Claim:
    """A statement with the rules that decide it, fixed before measuring.

    `rules` has one entry for each reading of the claim; a claim with one reading uses the key "". `applies` is asked at
    collection, with a pair's description and the test's parameters, whether the claim has a meaning there. `told`: whether
    its figure is measured or judged with the planted trigger or payload (True), or which values of its parameters make it so.
    """

    id: str
    sentence: str
    source: str
    family: str
    rules: Mapping[str, Rule]
    premises: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    needs: str = "deltas"
    applies: Callable[..., bool] | None = None
    told: bool | tuple[str, ...] = False

    def is_told(self, parameters: Mapping[str, Parameter]) -> bool:
        """Whether the figure with these parameters needs the planted trigger or payload."""
        return self.told if isinstance(self.told, bool) else any(value in self.told for value in parameters.values())

    def __post_init__(self) -> None:
        """Raises ValueError for a claim that no test could decide."""
        if self.needs not in NEEDS:
            raise ValueError(f"needs must be one of {', '.join(NEEDS)}; got {self.needs!r} at claim {self.id}")
        if not self.rules or not self.sentence:
            raise ValueError(
                f"a claim must have a sentence (its docstring) and a rule; got one or neither at claim {self.id}"
            )


def at_least(threshold: float, unit: str, because: str) -> Rule:
    """The deciding figure must be at least `threshold`; `because` is the reason, written before measuring."""
    return Rule("at least", threshold, unit, because)


def at_most(threshold: float, unit: str, because: str) -> Rule:
    """The deciding figure must be at most `threshold`; `because` is the reason, written before measuring."""
    return Rule("at most", threshold, unit, because)


def claim(
    id: str,
    *,
    source: str,
    rule: Rule | Mapping[str, Rule],
    premises: Sequence[str] = (),
    controls: Sequence[str] = (),
    needs: str = "deltas",
    applies: Callable[..., bool] | None = None,
    told: bool | Sequence[str] = False,
) -> Callable[[Test], Test]:
    """Make a test function a claim, which `pytest -m hypothesis` selects.

    The function takes `pair`, `finding` and any parameters. The first paragraph of its docstring is the claim's sentence. A
    claim is blind, and must not read the planted truth, unless it is `told` (see `Claim`).
    """

    def decorate(function: Test) -> Test:
        sentence = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
        declared = Claim(
            id=id,
            sentence=sentence,
            source=source,
            family=_family(function.__module__),
            rules={"": rule} if isinstance(rule, Rule) else dict(rule),
            premises=tuple(premises),
            controls=tuple(controls),
            needs=needs,
            applies=applies,
            told=told if isinstance(told, bool) else tuple(told),
        )
        marked: Test = pytest.mark.hypothesis(id=id)(function)
        marked.__claim__ = declared  # type: ignore[attr-defined]
        return marked

    return decorate


def _family(module: str) -> str:
    """The folder of the claim's file if it is one of `CLAIM_FAMILIES`, else the file's own name."""
    *packages, file = module.split(".")
    return packages[-1] if packages and packages[-1] in CLAIM_FAMILIES else file.removeprefix("test_")


def claim_of(function: object) -> Claim | None:
    """The claim that a test function declares, or None for an ordinary test."""
    found = getattr(function, "__claim__", None)
    return found if isinstance(found, Claim) else None
