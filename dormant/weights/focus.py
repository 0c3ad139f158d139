"""How much of a layer's delta lies in few heads (experiment 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dormant.weights.delta_report import TensorDelta
from dormant.weights.directions import FOCUS_HEADS

FOCUS_MEASURES = ("whole-delta", "leading-directions")


@dataclass(frozen=True)
class Focus:
    """Each head's share of the squared norm [head], and the few that hold most of it, the strongest first."""

    shares: tuple[float, ...]
    chosen: tuple[int, ...]

    @property
    def held(self) -> float:
        """What the chosen heads hold together."""
        return sum(self.shares[head] for head in self.chosen)

    @property
    def even(self) -> float:
        """What as many heads would hold if none were preferred."""
        return len(self.chosen) / len(self.shares) if self.shares else 0.0

    @property
    def preference(self) -> float:
        """A chosen head's part of what it and one of the others hold, each at its mean: 1/2 where none is preferred.

        It does not depend on how many heads there are, as a share does: three of eight even heads hold .375, three of 28
        .107. 2/3 is twice as much, 1 all of it; 0 without a delta. Without any other head nothing is preferred.
        """
        others = len(self.shares) - len(self.chosen)
        if not self.chosen or not others:
            return 0.5 if self.chosen else 0.0
        chosen, rest = self.held / len(self.chosen), max(0.0, 1 - self.held) / others
        return chosen / (chosen + rest)

    def heads_for(self, share: float) -> int:
        """The smallest number of heads that hold at least this share."""
        held, ordered = 0.0, sorted(self.shares, reverse=True)
        for count, part in enumerate(ordered, 1):
            held += part
            if held >= share:
                return count
        return len(ordered)


def focus(delta: TensorDelta, measure: str) -> Focus:
    """The focus of an attention module's delta, in all its directions or in each head's four leading ones.

    An identical tensor has no heads to choose; neither has one of which no heads were published, nor a delta that lies within
    the rounding of its dtype.
    """
    if delta.rank == 0:
        return Focus(tuple(0.0 for _ in delta.heads), ())
    if measure == "leading-directions":
        energies: Sequence[float] = [head.norm**2 * head.energy4 for head in delta.heads]
    else:
        energies = [head.norm**2 for head in delta.heads]
    total = sum(energies)
    if not total:
        return Focus(tuple(0.0 for _ in energies), ())
    shares = tuple(energy / total for energy in energies)
    return Focus(shares, tuple(sorted(range(len(shares)), key=lambda head: -shares[head])[:FOCUS_HEADS]))
