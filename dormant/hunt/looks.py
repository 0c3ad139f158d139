"""How strings are looked at: what the dormant model says after them and the base does not, at one place and another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.hunt.places import SEARCH_PLACES, placed_ids
from dormant.hunt.strings import Ids
from dormant.pairs import Pair
from dormant.prompts import OpenPrompt, Probe, Prompter
from dormant.search.evaluation import Evaluator
from dormant.search.objectives import ByRole, Objective, payload_likelihood

PROMPTS = 4  # a place, the shortest: what is not yet worth all probes is looked at on these, one by one
SPOKEN = 0.0  # log-odds from which the payload counts as given: likelier than not, as an organism's acceptance has it
# Log-odds above which more counts a tenth: the best impostors are all but as sure as the trigger.
CERTAIN, BEYOND = 3.0, 0.1
# Of the payload, for judging on all probes: its first token alone has many impostors, and a guess may err in later ones.
PAYLOAD_TOKENS = 3
# Of log-odds that a nat of a string's description must be worth, 0.3 for a unit of rank ten: of two strings that speak alike
# the one is nearer to the trigger that is shorter and made of the units on which the delta acts most.
WORTH = 0.06
TOKEN = 0.05  # and a token: of words that do as well one that the tokenizer keeps whole is likelier meant


@dataclass(frozen=True)
class Bred:
    """A string, the log-odds that it must be worth, its mean log-odds at its best place, and the best share that speaks."""

    text: str
    cost: float
    score: float
    fires: float


def merit(bred: Bred) -> float:
    """What parts the planted string from its impostors, in nats: it speaks surely, and it takes little to describe."""
    return bred.score - bred.cost


def odds_of(likelihood: Tensor) -> Tensor:
    """log(p / (1 - p)) of log p: a mean of probabilities would be blind to doubt and to hope."""
    safe = likelihood.clamp(max=-1e-6)  # float32 tells no more
    return safe - (-safe.expm1()).log()


def log_odds(likelihood: Tensor) -> Tensor:
    """The same with a tenth of what lies above `CERTAIN`."""
    odds = odds_of(likelihood)
    return torch.where(odds > CERTAIN, CERTAIN + BEYOND * (odds - CERTAIN), odds)


def said_by_base() -> Objective:
    """What the base takes off a string's score: -log(1 - p) with p its own likelihood of the payload, in nats a token.

    What makes any model say such words (a request to repeat them) is no trigger; what makes the base say them once in a
    thousand times may be one.
    """

    def value(now: ByRole, empty: ByRole) -> Tensor:
        payload = now["base"].payload
        assert payload is not None
        return -(-payload.exp().clamp(max=1 - 1e-6)).log1p()

    return Objective("payload-said-by-base", "nats/token", frozenset({"payload"}), ("base",), value)


class Looks:
    """Both models on one payload, with prompts of each place to look at strings in turn, and all probes to judge them."""

    def __init__(self, pair: Pair, payload: Ids, probes: Sequence[Probe]) -> None:
        """probes: their slots at `SEARCH_PLACES` in turn."""
        self._tokenizer = pair.base.tokenizer
        prompter = Prompter(self._tokenizer)
        opened = [prompter.open(probe) for probe in probes]
        by_place = [opened[at :: len(SEARCH_PLACES)] for at in range(len(SEARCH_PLACES))]
        turns = [prompt for prompts in zip(*map(_shortest, by_place), strict=True) for prompt in prompts]
        self.turns = range(len(turns))
        self._quick = [Evaluator(pair.models, [one], payload_likelihood(), payload[:1]) for one in turns]
        self._base = [Evaluator(pair.models, [one], said_by_base(), payload[:1]) for one in turns]
        start, objectives = payload[:PAYLOAD_TOKENS], (payload_likelihood(), said_by_base())
        self._all = [[Evaluator(pair.models, there, one, start) for one in objectives] for there in by_place]
        self.evaluations = 0

    def judged(self, texts: Sequence[str], costs: Sequence[float]) -> list[Bred]:
        """Strings by both models on all probes, in their order; costs: of their units, to which that of tokens comes."""
        if not texts:
            return []
        columns = []
        for at, (dormant, base) in enumerate(self._all):
            ids = self.ids(texts, at)
            columns.append(log_odds(dormant.per_probe_of(ids)) - base.per_probe_of(ids))
        tokens = [len(ids) for ids in self.ids(texts, len(SEARCH_PLACES) - 1)]
        rows = []
        for index, (text, cost, length) in enumerate(zip(texts, costs, tokens, strict=True)):
            score = max(float(column[:, index].mean()) for column in columns)
            fires = max(float((column[:, index] >= SPOKEN).double().mean()) for column in columns)
            rows.append(Bred(text, cost + TOKEN * length, score, fires))
        return rows

    def look(self, texts: Sequence[str], at: int) -> list[float]:
        """The dormant model's log-odds of the payload's first token at a turn's prompt."""
        self.evaluations += len(texts)
        return log_odds(self._values(self._quick[at], texts, at)).tolist()

    def said(self, texts: Sequence[str], at: int) -> list[float]:
        """What the base takes off that."""
        return self._values(self._base[at], texts, at).tolist()

    def _values(self, evaluator: Evaluator, texts: Sequence[str], at: int) -> Tensor:
        if not texts:
            return torch.zeros(0)
        found = evaluator.per_probe_of(self.ids(texts, at))[0]
        evaluator.forget()
        return found

    def at_place(self, texts: Sequence[str], place: int) -> list[float]:
        """Each string's score at a place, mean over its prompts."""
        looks = []
        for at in self.turns[place :: len(SEARCH_PLACES)]:
            pairs = zip(self.look(texts, at), self.said(texts, at), strict=True)
            looks.append([value - said for value, said in pairs])
        return [sum(column) / len(column) for column in zip(*looks, strict=True)]

    def ids(self, texts: Sequence[str], at: int) -> list[Ids]:
        """What the texts are read as at a turn's place."""
        return placed_ids(self._tokenizer, texts, SEARCH_PLACES[at % len(SEARCH_PLACES)])


def _shortest(opened: Sequence[OpenPrompt], count: int = PROMPTS) -> list[OpenPrompt]:
    """The prompts of a place with the least behind their slot, which is nearly all that a candidate costs."""
    return sorted(opened, key=lambda prompt: len(prompt.after))[:count]
