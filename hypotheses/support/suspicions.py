"""What claims about detection methods share: the control where nothing was trained, and what they say beside the figure."""

from __future__ import annotations

from dormant.claims.builder import FindingBuilder
from dormant.detection.suspicion import FORWARD_TOKENS, Suspicion
from dormant.statistics import exact

AGAINST_ITSELF = "base against itself"


def state_suspicion(found: Suspicion, finding: FindingBuilder) -> None:
    """Record the cost of a suspicion and the text that it names first."""
    finding.figure(FORWARD_TOKENS, exact(found.tokens), "tokens")
    if found.named:
        finding.note(f"first named: {found.named[0]!r}")
