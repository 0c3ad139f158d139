"""Which claims read a divergence over the answer, and which at its first token alone.

The first token: every scan, sweep and search (`single-token-trigger`, `phrase-scan`, `trigger-mechanisms`, `gcg-convergence`
and its siblings), which would have to let the dormant model answer each of thousands of candidates; `baseline-divergence`,
which has positions of its own; and every row that stood before. The answer: the readings whose name begins with `answer`,
each beside the row that reads the first token, of claims that speak of one given candidate.
"""

from __future__ import annotations

from collections.abc import Sequence

from dormant.claims.builder import FindingBuilder
from dormant.inference.answer_divergence import divergences
from dormant.inference.horizon import ANSWER, FIRST_TOKEN, Horizon
from dormant.prompts.probes import Prompt

OVER_ANSWER = "answer-"  # how the name of a reading begins that is over the answer


def horizon_of(reading: str) -> Horizon:
    """The horizon of a reading, by its name."""
    return ANSWER if reading.startswith(OVER_ANSWER) else FIRST_TOKEN


def measure_of(reading: str) -> str:
    """What a reading measures, whatever its horizon."""
    return reading.removeprefix(OVER_ANSWER)


def kl_of_itself(finding: FindingBuilder, prompts: Sequence[Prompt], horizon: Horizon = FIRST_TOKEN) -> Sequence[float]:
    """KL of the pair's base against itself, by prompt: arithmetic alone, computed once for all pairs of one base."""
    itself, key = finding.pair.against_itself, tuple(prompt.ids for prompt in prompts)
    return finding.once(
        ("kl", key, horizon), lambda: divergences(itself, prompts, prompts, horizon)[0]["kl"], pair=itself
    )
