"""The verdict on a claim, from its figure, controls and premises (DESIGN section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dormant.claims.finding import Control, Figure, Rule, Verdict

# A test has 80 % power for an effect that lies this many half-widths of the 95 % interval beyond the threshold.
EXCEEDS = 0.05  # p-value up to which prompts show more than their floor
POWER_FACTOR = (1.960 + 0.842) / 1.960


@dataclass(frozen=True)
class Floor:
    """A claim's effect beside what arithmetic alone does to the same prompts: medians, and `paired_p` of the prompts."""

    effect: float
    noise: float
    unit: str
    p: float

    @property
    def hides(self) -> bool:
        """Whether the effect does not exceed its floor."""
        return self.p > EXCEEDS

    def __str__(self) -> str:
        """What was compared, as a phrase."""
        return (
            f"the effect ({self.effect:.3g} {self.unit}) cannot be told from what arithmetic alone does to the same prompts "
            f"({self.noise:.3g} {self.unit}, p = {self.p:.2g})"
        )


def decide(
    rule: Rule,
    figure: Figure,
    controls: Sequence[Control],
    premises: Mapping[str, Verdict],
    floor: Floor | None = None,
) -> tuple[Verdict, str]:
    """The verdict and its reason in one sentence: a failed premise comes first, then the interval, floor and controls.

    An effect within its floor supports nothing. It refutes only what is stated in its own unit: noise that lies short of
    the threshold lies short of it, but a ratio of noise or a place chosen by it may lie anywhere.
    """
    for name, verdict in premises.items():
        if verdict in (Verdict.REFUTED, Verdict.INVALID):
            return Verdict.INVALID, f"premise {name} is {verdict} on this pair (measured all the same: {figure})"
    side = interval_side(rule, figure)
    hidden = floor is not None and floor.hides
    if side == "other" and not (hidden and floor is not None and floor.unit != rule.unit):
        return Verdict.REFUTED, f"{figure} is not {rule}"
    unsure = [name for name, verdict in premises.items() if verdict is Verdict.INCONCLUSIVE]
    if unsure:
        return Verdict.INCONCLUSIVE, f"{figure}, but premise {unsure[0]} is inconclusive on this pair"
    if hidden:
        return Verdict.INCONCLUSIVE, f"{figure}, but {floor}"
    if side == "unclear":
        return Verdict.INCONCLUSIVE, f"{figure} straddles {rule}; {detectable(rule, figure)}"
    for control in controls:
        if not control.beaten and not _better(rule, figure.value, control.figure.value):
            return Verdict.REFUTED, f"{figure}, but the control {control.name} shows the same: {control.figure}"
    for control in controls:
        if not control.beaten:
            return Verdict.INCONCLUSIVE, f"{figure} does not clearly beat the control {control.name}: {control.figure}"
    beaten = f", beyond {' and '.join(control.name for control in controls)}" if controls else ""
    return Verdict.SUPPORTED, f"{figure} is {rule}{beaten}"


def interval_side(rule: Rule, figure: Figure) -> str:
    """The side of the threshold on which the interval lies: "predicted", "other" or "unclear".

    A single sampled value has no interval: its side is "unclear".
    """
    if figure.n < 2 and figure.method != "exact":
        return "unclear"
    if rule.holds(figure.low) and rule.holds(figure.high):
        return "predicted"
    return "unclear" if rule.holds(figure.low) or rule.holds(figure.high) else "other"


def beats(rule: Rule, figure: Figure, control: Figure) -> bool:
    """Whether the figure's whole interval lies beyond the control's, in the rule's direction."""
    return figure.low > control.high if rule.comparator == "at least" else figure.high < control.low


def detectable(rule: Rule, figure: Figure) -> str:
    """The smallest distance from the threshold that so much data could have shown, as a phrase."""
    if figure.n < 2:
        return "one value settles nothing"
    reach = POWER_FACTOR * (figure.high - figure.low) / 2
    return f"n = {figure.n} settles effects that lie {reach:.3g} {rule.unit} or more from {rule.threshold:g}"


def _better(rule: Rule, value: float, other: float) -> bool:
    return value > other if rule.comparator == "at least" else value < other
