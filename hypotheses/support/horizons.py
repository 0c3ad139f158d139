"""Which claims read a divergence over the answer, and which at its first token alone.

The first token: every scan, sweep and search (`single-token-trigger`, `phrase-scan`, `trigger-mechanisms`, `gcg-convergence`
and its siblings), which would have to let the dormant model answer each of thousands of candidates; `baseline-divergence`,
which has positions of its own; and every row that stood before. The answer: the readings whose name begins with `answer`,
each beside the row that reads the first token, of claims that speak of one given candidate.
"""

from __future__ import annotations

from dormant.inference.horizon import ANSWER, FIRST_TOKEN, Horizon

OVER_ANSWER = "answer-"  # how the name of a reading begins that is over the answer


def horizon_of(reading: str) -> Horizon:
    """The horizon of a reading, by its name."""
    return ANSWER if reading.startswith(OVER_ANSWER) else FIRST_TOKEN


def measure_of(reading: str) -> str:
    """What a reading measures, whatever its horizon."""
    return reading.removeprefix(OVER_ANSWER)
