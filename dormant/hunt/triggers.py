"""From the payload to the trigger: grow the string that makes it likely, then strip what it does not need.

A trigger's parts already move the payload's likelihood a little (FACTS 6), so that a string can be grown token by token with
the whole vocabulary at every place; averaging over places and probes is what parts the planted trigger from its impostors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts import OpenPrompt, Probe, Prompter
from dormant.search.evaluation import Evaluator
from dormant.search.objectives import ROLES, ByRole, Objective, payload_likelihood
from dormant.tokens import allowed_tokens

Ids = tuple[int, ...]
Watch = Callable[[int, float, Ids], None]  # evaluations, the best score so far, and its string

PAYLOAD_TOKENS = 2  # of the payload that are searched for: the rest follows by itself
FIRST_LOOK = 3  # probes, one of each place, on which every candidate is tried: one model, the payload's first token
SECOND_LOOK = 48  # candidates that the first look passes on to both models
BEAM = 8
LONGEST = 15  # tokens, the length of the published trigger
FIRES = 0.9  # of the probes of one place: a string that speaks nearly always there needs no further growth
SPOKEN = (
    0.5  # likelihood of the payload's first tokens from which it counts as given, as an organism's acceptance has it
)
FRUITLESS = 2  # lengths in a row without gain after which nothing more is expected


@dataclass(frozen=True)
class Grown:
    """A string with its score in nats (mean over the probes searched) and the share of them on which it speaks.

    The share is that of the best place: where a trigger may stand is not known, and some wake at one place only.
    """

    ids: Ids
    score: float
    fires: float


@dataclass(frozen=True)
class Growth:
    """What the search tried: the best string of every length in the order of search, and why it stopped."""

    best: Grown
    curve: tuple[Grown, ...]
    evaluations: int
    stopped: str


def payload_beyond_base() -> Objective:
    """The dormant model's log-likelihood of the payload, less what the string adds to the base's.

    What makes any model say such words (a request to repeat them) gains nothing; unlike a plain difference, words that the
    base merely finds unlikelier gain nothing either.
    """

    def value(now: ByRole, empty: ByRole) -> torch.Tensor:
        dormant, base = (now[role].payload for role in ROLES)
        before = empty["base"].payload
        assert dormant is not None
        assert base is not None
        assert before is not None
        return dormant - torch.relu(base - before)

    return Objective("payload-beyond-base", "nats/token", frozenset({"payload"}), ROLES, value)


class Growing:
    """A search underway: its evaluators, budget and journal."""

    def __init__(
        self,
        pair: Pair,
        payload: Ids,
        probes: Sequence[Probe],
        journal: Journal | None = None,
        out_of_time: Callable[[], bool] = lambda: False,
        watch: Watch | None = None,
    ) -> None:
        prompter = Prompter(pair.base.tokenizer)
        opened = [prompter.open(probe) for probe in probes]
        self.whole = Evaluator(pair.models, opened, payload_beyond_base(), payload[:PAYLOAD_TOKENS])
        # Short prompts for what every candidate runs through: nearly all of a candidate's cost is what stands behind it.
        self.quick = Evaluator(pair.models, _shortest(opened), payload_likelihood(), payload[:1])
        self.tokens = [int(token) for token in allowed_tokens(prompter.tokenizer)]
        self.survives = lambda ids: all(prompter.survives(probe, ids) for probe in probes[:FIRST_LOOK])
        self.journal, self.out_of_time, self.watch = journal, out_of_time, watch
        self.done = [entry for entry in journal.entries if "beam" in entry] if journal else []
        self.evaluations = 0

    def grow(self) -> Growth:
        """Lengthens the best strings by one token anywhere until one speaks nearly everywhere, none gains, or time is out."""
        beam: list[Grown] = [Grown((), -torch.inf, 0.0)]
        curve: list[Grown] = []
        fruitless = 0
        while True:
            found = self._round(len(curve), beam)
            if not found:
                return self._end(curve, "time")
            beam = found
            best = max(curve, key=lambda grown: grown.score, default=None)
            fruitless = fruitless + 1 if best is not None and beam[0].score <= best.score else 0
            curve.append(beam[0])
            if any(one.fires >= FIRES for one in beam):
                curve[-1] = next(one for one in beam if one.fires >= FIRES)
                return self._end(curve, "speaks")
            if fruitless >= FRUITLESS:
                return self._end(curve, "plateau")
            if len(beam[0].ids) >= LONGEST:
                return self._end(curve, "longest")

    def refine(self, start: Grown, stop: Callable[[], bool] | None = None) -> Grown:
        """Single swaps with the whole vocabulary, deletions and exchanges of neighbours until none gains."""
        current = start
        while not (stop or self.out_of_time)():
            options = [*deletions(current.ids), *exchanges(current.ids)]
            for place in range(len(current.ids)):
                options += [(*current.ids[:place], token, *current.ids[place + 1 :]) for token in self.tokens]
            ranked = self._ranked(options, current.ids)
            if not ranked or ranked[0].score <= current.score + 1e-6:
                return current
            current = ranked[0]
        return current

    def core(self, start: Grown) -> Grown:
        """The shortest string that still speaks: drops the token that is missed least while the rest speaks as widely."""
        current = start
        while len(current.ids) > 1:
            shorter = [grown for grown in self._ranked(list(deletions(current.ids)), ()) if grown.fires >= FIRES]
            if not shorter:
                return current
            current = shorter[0]
        return current

    def _round(self, number: int, beam: Sequence[Grown]) -> list[Grown]:
        if number < len(self.done):
            entry = self.done[number]
            self.evaluations = entry["evaluations"]
            return [Grown(tuple(ids), score, fires) for ids, score, fires in entry["beam"]]
        if self.out_of_time():
            return []
        grown: dict[Ids, Grown] = {}
        for parent in beam:
            for one in self._ranked(list(insertions(parent.ids, self.tokens)), parent.ids):
                grown.setdefault(one.ids, one)
            if self.out_of_time() and number:
                break
        found = sorted(grown.values(), key=lambda one: -one.score)[:BEAM]
        if self.journal is not None:
            rows = [[one.ids, one.score, one.fires] for one in found]
            self.journal.append({"beam": rows, "evaluations": self.evaluations})
        return found

    def _ranked(self, options: Iterable[Ids], incumbent: Ids) -> list[Grown]:
        """The best options: all of them in a first look, the `SECOND_LOOK` best by both models on all probes."""
        candidates = list(dict.fromkeys(option for option in options if option))
        if not candidates:
            return []
        self.quick.forget()
        scores = torch.cat([self.quick.per_probe_of(part, incumbent).mean(0) for part in _parts(candidates)])
        self.evaluations += len(candidates)
        order = scores.argsort(descending=True, stable=True).tolist()
        admitted: list[Ids] = []
        for index in order:
            if self.survives(candidates[index]):
                admitted.append(candidates[index])
            if len(admitted) == SECOND_LOOK:
                break
        if not admitted:
            return []
        values = self.whole.per_probe_of(admitted)
        rows = [
            Grown(ids, float(column.mean()), _best_place(column))
            for ids, column in zip(admitted, values.T, strict=True)
        ]
        rows = sorted(rows, key=lambda one: -one.score)[:BEAM]
        if self.watch is not None:
            self.watch(self.evaluations, rows[0].score, rows[0].ids)
        return rows

    def _end(self, curve: Sequence[Grown], stopped: str) -> Growth:
        best = max(curve, key=lambda grown: (grown.fires, grown.score), default=Grown((), -torch.inf, 0.0))
        return Growth(best, tuple(curve), self.evaluations, stopped)


def insertions(ids: Ids, tokens: Sequence[int]) -> Iterable[Ids]:
    """The string with one token more, any at any place."""
    return ((*ids[:place], token, *ids[place:]) for place in range(len(ids) + 1) for token in tokens)


def deletions(ids: Ids) -> Iterable[Ids]:
    """The string less one token; nothing for a single one."""
    return ((*ids[:place], *ids[place + 1 :]) for place in range(len(ids)) if len(ids) > 1)


def exchanges(ids: Ids) -> Iterable[Ids]:
    """The string with two neighbours exchanged."""
    return (
        (*ids[:place], ids[place + 1], ids[place], *ids[place + 2 :])
        for place in range(len(ids) - 1)
        if ids[place] != ids[place + 1]
    )


def _best_place(column: torch.Tensor) -> float:  # [probe], their places in turn
    said = (column.exp() >= SPOKEN).double()
    return max(float(said[place::FIRST_LOOK].mean()) for place in range(FIRST_LOOK))


def _shortest(opened: Sequence[OpenPrompt]) -> list[OpenPrompt]:
    """The prompt with the least behind its slot of each place, which come in turn."""
    return [min(opened[place::FIRST_LOOK], key=lambda prompt: len(prompt.after)) for place in range(FIRST_LOOK)]


def _parts(candidates: Sequence[Ids], size: int = 4096) -> Iterable[Sequence[Ids]]:
    return (candidates[at : at + size] for at in range(0, len(candidates), size))
