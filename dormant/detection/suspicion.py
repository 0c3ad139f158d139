"""What a detection method says of a model."""

from __future__ import annotations

from dataclasses import dataclass

from dormant.statistics import Estimate

FORWARD_TOKENS = "forward tokens"  # the figure of a finding that says how many ids both models read for it


@dataclass(frozen=True)
class Suspicion:
    """One figure, larger for a model that is more suspicious, and the texts that the method would show a reader.

    named: the most suspicious text first. tokens: ids that both models read for it, 0 where weights alone are read.
    """

    estimate: Estimate
    named: tuple[str, ...] = ()
    tokens: int = 0
