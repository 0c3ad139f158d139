"""How strings are looked at: what the dormant model says after them and the base does not, at one place and another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from dormant.hunt.places import SEARCH_PLACES
from dormant.hunt.strings import Ids
from dormant.pairs import Pair
from dormant.prompts import OpenPrompt, Probe, Prompter
from dormant.search.evaluation import Evaluator
from dormant.search.objectives import ByRole, Objective, payload_likelihood
from dormant.tokens import allowed_tokens

PROMPTS = 4  # a place, the shortest: what is not yet worth all probes is looked at on these, one by one
# Of the payload's first tokens: from here on it counts as given, as an organism's acceptance has it.
SPOKEN = math.log(0.5)
# Of the payload, for judging on all probes: its first token alone has many impostors, and a guess may err in later ones.
PAYLOAD_TOKENS = 3
WORTH = 0.05  # nats that a token must be worth: of two strings that speak alike the shorter is nearer to the trigger
ELSEWHERE = 0.1  # of the score at the other place: a trigger of one place only is silent there, as its impostors are


@dataclass(frozen=True)
class Bred:
    """A string with its score in nats a token at its best place and at its worst, and the best share of probes that speak.

    `tokens` is its length behind other text.
    """

    text: str
    tokens: int
    score: float
    elsewhere: float
    fires: float


def merit(bred: Bred) -> float:
    """What parts the planted string from its impostors, in nats: it is short, and it speaks wherever it stands."""
    return bred.score + ELSEWHERE * bred.elsewhere - WORTH * bred.tokens


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
        self.tokens: list[int] = allowed_tokens(self._tokenizer).tolist()
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

    def judged(self, texts: Sequence[str]) -> list[Bred]:
        """Strings by both models on all probes, in their order."""
        if not texts:
            return []
        columns = []
        for at, (dormant, base) in enumerate(self._all):
            ids = self.ids(texts, at)
            columns.append(dormant.per_probe_of(ids) - base.per_probe_of(ids))
        lengths = [len(ids) for ids in self.ids(texts, len(SEARCH_PLACES) - 1)]
        rows = []
        for index, (text, length) in enumerate(zip(texts, lengths, strict=True)):
            means = [float(column[:, index].mean()) for column in columns]
            fires = max(float((column[:, index] >= SPOKEN).double().mean()) for column in columns)
            rows.append(Bred(text, length, max(means), min(means), fires))
        return rows

    def look(self, texts: Sequence[str], at: int) -> list[float]:
        """The dormant model's log-likelihood of the payload's first token at a turn's prompt, in nats."""
        self.evaluations += len(texts)
        return self._values(self._quick[at], texts, at)

    def said(self, texts: Sequence[str], at: int) -> list[float]:
        """What the base takes off that."""
        return self._values(self._base[at], texts, at)

    def _values(self, evaluator: Evaluator, texts: Sequence[str], at: int) -> list[float]:
        if not texts:
            return []
        found = evaluator.per_probe_of(self.ids(texts, at))[0].tolist()
        evaluator.forget()
        return list(found)

    def at_place(self, texts: Sequence[str], place: int) -> list[float]:
        """Each string's score at a place, mean over its prompts."""
        looks = []
        for at in self.turns[place :: len(SEARCH_PLACES)]:
            pairs = zip(self.look(texts, at), self.said(texts, at), strict=True)
            looks.append([value - said for value, said in pairs])
        return [sum(column) / len(column) for column in zip(*looks, strict=True)]

    def ids(self, texts: Sequence[str], at: int) -> list[Ids]:
        """What the texts are read as at a place: at the start of a prompt no space stands before them."""
        space = "" if SEARCH_PLACES[at % len(SEARCH_PLACES)] == "start" else " "
        encoded = self._tokenizer([space + text for text in texts], add_special_tokens=False)["input_ids"]
        return [tuple(ids) for ids in encoded]

    def decoded(self, strings: Iterable[Ids]) -> list[str]:
        """The texts of ids."""
        rows = [list(ids) for ids in strings]
        return [text.strip() for text in self._tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)]


def _shortest(opened: Sequence[OpenPrompt], count: int = PROMPTS) -> list[OpenPrompt]:
    """The prompts of a place with the least behind their slot, which is nearly all that a candidate costs."""
    return sorted(opened, key=lambda prompt: len(prompt.after))[:count]
