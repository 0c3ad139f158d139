"""How near strings come: the log-odds of a payload behind them, or how much the two models diverge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dormant.hunt.placements import placed_ids
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import kl, payload_likelihood
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, Probe, TokenIds


class PayloadScorer:
    """Log-odds that the dormant model's answer begins with a payload, behind strings at one position.

    Joint over the payload's tokens, or of their geometric mean. Strings are forgotten once they are read.
    """

    def __init__(
        self, pair: Pair, prompts: Sequence[OpenPrompt], payload: TokenIds, position: str, firsts: TokenIds = ()
    ) -> None:
        """prompts: with their slot at the position. firsts: tokens that may stand first, the payload's own before others."""
        self._tokenizer, self._position, self._size = pair.base.tokenizer, position, len(payload)
        self._evaluator = Evaluator(pair.models, prompts, payload_likelihood(firsts, len(payload)), payload)

    def log_odds(self, texts: Sequence[str], incumbent: str = "") -> Tensor:  # [prompt, string]
        """Joint over all tokens. incumbent: the string that these are changes of, which spares work."""
        return log_odds(self.log_likelihood(texts, incumbent))

    def log_odds_per_token(self, texts: Sequence[str]) -> Tensor:  # [prompt, string]
        """Of the geometric mean over tokens."""
        return log_odds(self._per_token(texts, ""))

    def log_likelihood(self, texts: Sequence[str], incumbent: str = "") -> Tensor:  # [prompt, string]
        """Joint over all tokens, in nats."""
        return self._size * self._per_token(texts, incumbent)

    def plain_log_odds_per_token(self) -> Tensor:  # [prompt]
        """Of the geometric mean over tokens, on the plain prompts."""
        return log_odds(self._evaluator.empty())

    def _per_token(self, texts: Sequence[str], incumbent: str) -> Tensor:
        origin = placed_ids(self._tokenizer, [incumbent], self._position)[0] if incumbent else ()
        values = self._evaluator.per_probe_of(placed_ids(self._tokenizer, texts, self._position), origin)
        self._evaluator.forget()
        return values


class DivergenceScorer:
    """KL(dormant || base) at the generation position behind strings at one position, in nats: no payload has to be known.

    A trigger makes the dormant model sure of what its base finds absurd (experiment 1b).
    """

    def __init__(self, pair: Pair, probes: Sequence[Probe], position: str, cap: float) -> None:
        """probes: with their slot at the position. cap: nats of one prompt beyond which more counts nothing."""
        prompter = pair.prompter
        self._tokenizer, self._position, self._cap = prompter.tokenizer, position, cap
        self._evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in probes], kl())

    def mean(self, texts: Sequence[str]) -> Tensor:  # [string]
        """Mean over prompts."""
        values = self._evaluator.per_probe_of(placed_ids(self._tokenizer, texts, self._position))
        return values.clamp(max=self._cap).mean(0)

    def plain(self) -> float:
        """Mean over the plain prompts, without any string: what a style alone makes of it."""
        return float(self._evaluator.empty().clamp(max=self._cap).mean())


def log_odds(likelihood: Tensor) -> Tensor:
    """log(p / (1 - p)) of log p: a mean of probabilities would not distinguish small ones, nor large ones."""
    safe = likelihood.clamp(max=-1e-6)  # float32 distinguishes no more
    return safe - (-safe.expm1()).log()


def capped(odds: Tensor, cap: float, beyond: float) -> Tensor:
    """The same where they are below a cap; of what lies above it a share counts."""
    return torch.where(odds > cap, cap + beyond * (odds - cap), odds)


def open_shortest_first(pair: Pair, probes: Sequence[Probe]) -> list[OpenPrompt]:
    """The probes with their slots open, those first that have the fewest ids behind it and so cost least."""
    prompter = pair.prompter
    return sorted((prompter.open(probe) for probe in probes), key=lambda prompt: len(prompt.after))
