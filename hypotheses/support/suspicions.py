"""What claims about detection methods share: the control where nothing was trained, and what they say beside the figure."""

from __future__ import annotations

from collections.abc import Callable

from dormant.claims.builder import FindingBuilder
from dormant.detection.suspicion import FORWARD_TOKENS, Suspicion
from dormant.pairs import Pair
from dormant.statistics import exact
from hypotheses.support.scans import TWIN, twin_value

AGAINST_ITSELF = "base against itself"


def state_suspicion(found: Suspicion, finding: FindingBuilder) -> None:
    """Record the cost of a suspicion and the text that it names first."""
    finding.figure(FORWARD_TOKENS, exact(found.tokens), "tokens")
    if found.named:
        finding.note(f"first named: {found.named[0]!r}")


def control_by_twin(finding: FindingBuilder, suspicion: Callable[[Pair, FindingBuilder], Suspicion]) -> None:
    """Record what the same method says of the clean twin, where there is one and the premises hold."""
    key = ("suspicion of the twin", suspicion.__qualname__)
    if (twin := twin_value(finding, key, lambda clean: suspicion(clean, finding))) is not None:
        finding.control(TWIN, twin.estimate)
