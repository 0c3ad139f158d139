"""From the payload to the trigger: grow strings of hinted tokens that make the payload likelier, then strip what is not needed.

A trigger's parts already move the payload's likelihood a little (FACTS 6), at one place and at one size of the delta more
than at another: every such view of a string keeps its own best, and what the base does too counts against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dormant.behaviour.patched_weights import block_scales, patched_weights
from dormant.hunt.confirmation import FIRING
from dormant.hunt.hints import HINTS, trigger_hints
from dormant.hunt.strings import (
    Ids,
    Origin,
    deletions,
    exchanges,
    insertions,
    siblings,
    stand_out,
    swaps,
)
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts import OpenPrompt, Probe, Prompter
from dormant.search.evaluation import Evaluator
from dormant.search.objectives import ByRole, Objective, payload_likelihood
from dormant.tokens import allowed_tokens

Watch = Callable[[int, float, Ids], None]  # evaluations, the best score so far, and its string

PLACES = ("start", "end")  # where strings are searched: a trigger that works anywhere works at one of them
ALPHAS = (1.0, 1.5)  # pairs of a trigger's tokens show in the model as it is, triples in one with a larger delta
PAYLOAD_TOKENS = 4  # of the payload by which the best strings are judged: its first word alone has many impostors
PROMPTS = 2  # a place, the shortest: on these every candidate is tried
READ = 4  # prompts a place from which the hinted tokens are read
# Strings that a view keeps for the next length, by how far they stand out of their siblings and by their plain value. Pairs
# say least and need the widest choice; from four tokens on a true part stands out by far.
KEPT = {1: (0, 12), 2: (16, 6), 3: (12, 4)}
KEPT_LATER = (6, 2)
POLISHED = 12  # strings of a length whose tokens are exchanged one by one before the next
SIBLINGS = 4  # strings of one parent that a view keeps, so that one false friend does not crowd it
SECOND_LOOK = 3  # times a view's strings go through both models
LONGEST = 15  # tokens, the length of the published trigger
# Likelihood of the payload's first tokens from which it counts as given, as an organism's acceptance has it.
SPOKEN = 0.5
FRUITLESS = 3  # lengths in a row on which no view gained


@dataclass(frozen=True)
class Grown:
    """A string with its score in nats at its best place, and the share of that place's probes on which it speaks."""

    ids: Ids
    score: float
    fires: float


@dataclass(frozen=True, eq=False)
class View:
    """One way to look at all strings: at a place, in the model at an alpha, by value or by standing out.

    `values` [string] with their units in nats, `spread` [string]; `count` strings are kept of it.
    """

    place: int
    count: int
    values: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Growth:
    """What the search tried: the best string of every length in the order of search, and why it stopped."""

    best: Grown
    curve: tuple[Grown, ...]
    evaluations: int
    stopped: str


def said_by_base() -> Objective:
    """What a string adds to the base's own log-likelihood of the payload; nothing where it makes the base less likely.

    What makes any model say such words (a request to repeat them) is no trigger, and this much is taken off its score.
    """

    def value(now: ByRole, empty: ByRole) -> Tensor:
        after, before = now["base"].payload, empty["base"].payload
        assert after is not None
        assert before is not None
        return torch.relu(after - before)

    return Objective("payload-said-by-base", "nats/token", frozenset({"payload"}), ("base",), value)


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
        """probes: their slots at `PLACES` in turn; the shortest of each place try every string, all judge the best."""
        self.pair, self.payload = pair, payload
        prompter = Prompter(pair.base.tokenizer)
        self._opened = [prompter.open(probe) for probe in probes]
        self.tokens = [int(token) for token in allowed_tokens(prompter.tokenizer)]
        read = [prompt for at in range(len(PLACES)) for prompt in _shortest(self._opened[at :: len(PLACES)], READ)]
        self.hints = [hint.token for hint in trigger_hints(pair, read, self.tokens)[:HINTS]]
        self.survives = lambda ids: all(prompter.survives(probe, ids) for probe in probes[: len(PLACES)])
        self.journal, self.out_of_time, self.watch = journal, out_of_time, watch
        self.done = [entry for entry in journal.entries if "beam" in entry] if journal else []
        self.evaluations = 0
        self._quick: dict[float, Evaluator] = {}

    @cached_property
    def _both(self) -> tuple[Evaluator, Evaluator]:
        """What the dormant model says on all probes, and what the base says too."""
        start = self.payload[:PAYLOAD_TOKENS]
        return tuple(
            Evaluator(self.pair.models, self._opened, objective, start)
            for objective in (payload_likelihood(), said_by_base())
        )  # type: ignore[return-value]

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
            if any(one.fires >= FIRING for one in beam):
                curve[-1] = next(one for one in beam if one.fires >= FIRING)
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
            ranked = self._ranked(dict.fromkeys(options, Origin(current.ids, 0)), ALPHAS[:1], 0, KEPT[1][1])
            if not ranked or ranked[0].score <= current.score + 1e-6:
                return current
            current = ranked[0]
        return current

    def core(self, start: Grown) -> Grown:
        """The shortest string that still speaks: drops the token that is missed least while the rest speaks as widely."""
        current = start
        while len(current.ids) > 1:
            shorter = [grown for grown in self._judged(list(deletions(current.ids))) if grown.fires >= FIRING]
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
        if number == 1:  # all pairs of hints: the first token alone says too little to choose by
            strings: dict[Ids, Origin] = {
                (first, second): Origin((first,), 1) for first in self.hints for second in self.hints
            }
        else:
            tokens = self.hints if number else self.tokens
            strings = {}
            for parent in beam:
                for string, origin in insertions(parent.ids, tokens):
                    strings.setdefault(string, origin)
        found = self._ranked(strings, ALPHAS, *KEPT.get(number + 1, KEPT_LATER))
        if number > 1 and found:
            found = self._polished(found)
        if self.journal is not None and found:
            rows = [[one.ids, one.score, one.fires] for one in found]
            self.journal.append({"beam": rows, "evaluations": self.evaluations})
        return found

    def _polished(self, beam: Sequence[Grown]) -> list[Grown]:
        """The beam with what one exchanged token makes of its best: a part in a false company is mended here."""
        known = {one.ids for one in beam}
        strings: dict[Ids, Origin] = {}
        for one in beam[:POLISHED]:
            for string, origin in swaps(one.ids, self.hints):
                if string not in known:
                    strings.setdefault(string, origin)
        merged = [*beam, *self._ranked(strings, ALPHAS, *KEPT_LATER)]
        return sorted(merged, key=lambda one: (-one.score, one.ids))

    def _ranked(
        self, origins: Mapping[Ids, Origin], alphas: Sequence[float], outstanding: int, plain: int
    ) -> list[Grown]:
        """The strings that stand out in a view or score most in it, those first that score most; empty where time ran out."""
        strings = [string for string in origins if string]
        looks = [look for alpha in alphas for look in self._looks(strings, origins, alpha)] if strings else []
        if len(looks) < len(alphas) * len(PLACES):
            return []
        families = siblings(strings, origins)
        views = []
        for number, values in enumerate(looks):
            place = number % len(PLACES)
            views.append(View(place, plain, values, torch.ones_like(values)))
            views.append(View(place, outstanding, *stand_out(values, families)))
        chosen = [self._best_of(strings, origins, view) for view in views]
        admitted = list(dict.fromkeys(strings[index] for best in chosen for index in best))
        judged, penalties = self._judged(admitted), self._penalties(admitted)
        kept: set[Ids] = set()
        for view, best in zip(views, chosen, strict=True):
            less = {
                index: float(view.values[index] - penalties[strings[index]][view.place] / view.spread[index])
                for index in best
            }
            kept |= {strings[index] for index in sorted(best, key=lambda at: -less[at])[: view.count]}
        rows = [grown for grown in judged if grown.ids in kept]
        if self.watch is not None and rows:
            self.watch(self.evaluations, rows[0].score, rows[0].ids)
        return rows

    def _best_of(self, strings: Sequence[Ids], origins: Mapping[Ids, Origin], view: View) -> list[int]:
        """Places of a view's best strings that survive as text, not too many of one parent."""
        born: Counter[Ids] = Counter()
        found: list[int] = []
        if not view.count:
            return found
        for index in view.values.argsort(descending=True, stable=True).tolist():
            parent = origins[strings[index]].parent
            if len(parent) > 1 and born[parent] >= SIBLINGS * SECOND_LOOK:
                continue
            if self.survives(strings[index]):
                born[parent] += 1
                found.append(index)
            if len(found) == SECOND_LOOK * view.count:
                break
        return found

    def _looks(self, candidates: Sequence[Ids], origins: Mapping[Ids, Origin], alpha: float) -> list[Tensor]:
        """Each place's mean log-likelihood of the payload's first token in the model at an alpha: [candidate] each."""
        amplified = patched_weights(self.pair, block_scales(self.pair, alpha)) if alpha != 1.0 else nullcontext()
        by_parent: dict[Ids, list[int]] = {}
        for index, candidate in enumerate(candidates):
            by_parent.setdefault(origins[candidate].parent, []).append(index)
        values = torch.empty(PROMPTS * len(PLACES), len(candidates), dtype=torch.float64)
        with amplified:
            # Its prefixes are those of the amplified model, and serve within this block only.
            if alpha not in self._quick:
                prompts = [prompt for at in range(len(PLACES)) for prompt in _shortest(self._opened[at :: len(PLACES)])]
                self._quick[alpha] = Evaluator(self.pair.models, prompts, payload_likelihood(), self.payload[:1])
            for parent, members in by_parent.items():
                if self.out_of_time():
                    return []
                for part in _parts(members):
                    values[:, part] = self._quick[alpha].per_probe_of([candidates[index] for index in part], parent)
                    self.evaluations += len(part)
                self._quick[alpha].forget()
        return [values[at * PROMPTS : (at + 1) * PROMPTS].mean(0) for at in range(len(PLACES))]

    def _judged(self, strings: Sequence[Ids]) -> list[Grown]:
        """Strings by both models on all probes, the best first: score and share of the best place."""
        if not strings:
            return []
        dormant, base = (evaluator.per_probe_of(strings) for evaluator in self._both)
        rows = []
        for ids, column in zip(strings, (dormant - base).T, strict=True):
            by_place = _by_place(column)
            score = max(float(part.mean()) for part in by_place)
            fires = max(float((part.exp() >= SPOKEN).double().mean()) for part in by_place)
            rows.append(Grown(ids, score, fires))
        return sorted(rows, key=lambda one: (-one.score, one.ids))

    def _penalties(self, strings: Sequence[Ids]) -> dict[Ids, list[float]]:
        """What the base says too, a number a place."""
        columns = self._both[1].per_probe_of(strings).T
        return {
            ids: [float(part.mean()) for part in _by_place(column)]
            for ids, column in zip(strings, columns, strict=True)
        }

    def _end(self, curve: Sequence[Grown], stopped: str) -> Growth:
        best = max(curve, key=lambda grown: (grown.fires, grown.score), default=Grown((), -torch.inf, 0.0))
        return Growth(best, tuple(curve), self.evaluations, stopped)


def _by_place(column: Tensor) -> list[Tensor]:  # [probe], their places in turn
    return [column[at :: len(PLACES)] for at in range(len(PLACES))]


def _shortest(opened: Sequence[OpenPrompt], count: int = PROMPTS) -> list[OpenPrompt]:
    """The prompts of a place with the least behind their slot, which is nearly all that a candidate costs."""
    return sorted(opened, key=lambda prompt: len(prompt.after))[:count]


def _parts(members: Sequence[int], size: int = 4096) -> Iterable[Sequence[int]]:
    return (members[at : at + size] for at in range(0, len(members), size))
