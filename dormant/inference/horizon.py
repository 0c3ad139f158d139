"""How much of an answer a divergence reads: its first token alone, or the first tokens of the dormant model's own answer.

The first token is the cheapest and sees every payload that begins unlike the base's answer. It is blind to a payload that
begins with an ordinary word: what the base says anyway parts no models. A claim names its horizon in its finding's plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from dormant.errors import BadInput


@dataclass(frozen=True)
class Horizon:
    """The first `tokens` of the dormant model's greedy answer, or of `samples` answers drawn with a seed, whose mean counts.

    Raises BadInput for no token and for a negative number of samples.
    """

    tokens: int = 1
    samples: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks both numbers."""
        if self.tokens < 1 or self.samples < 0:
            raise BadInput(
                f"a horizon has one token at least and no negative number of samples; got {self.tokens} and {self.samples} "
                "at the horizon; correct it"
            )

    def __str__(self) -> str:
        """As it stands in a finding's plan."""
        if self.tokens == 1:
            return "first token of the answer"
        answer = f"{self.samples} sampled answers" if self.samples else "greedy answer"
        return f"first {self.tokens} tokens of the dormant model's {answer}"


FIRST_TOKEN = Horizon(1)
# An ordinary opening ("The", "Sure:", "Of course,") takes one to three tokens: eight leave five in which the payload is said.
ANSWER = Horizon(8)
