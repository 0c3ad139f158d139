"""Up to a string that wakes the model, one unit at a time, where no rung before has named one whole.

The log-odds of a suspected payload, averaged over prompts, rise with every unit that helps, long before any answer shows it:
six hinted units take them from -16 to -3, and the right ones, or many a wrong one, above zero. So a beam of hinted units comes
first, then changes of one unit: to one of the most hinted, as long as that helps, for what was planted is mostly among them;
else each unit in turn gives way to the one of thousands behind which the payload is likeliest, or one is put between them. What
wakes the model in the end need not be what was planted: refinement goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from dormant.hunt.placements import placed_ids
from dormant.hunt.scorers import PAYLOAD_TOKENS, SPOKEN, log_odds, odds_of
from dormant.hunt.vocabulary import Unit
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import payload_likelihood
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter

# All numbers here were set while looking at organisms of the calibration: words-eight, the phrases, full-words and mixed.
# The beam: of so many hinted units the best strings of each length, 12,000 strings in all.
HINTED, BEAM, LENGTH = 24, 32, 6
# On which the beam is judged: one prompt alone is brought to say anything, and the string then does nothing on others.
PROMPTS = 4
# Units that are tried in a unit's place or between two, the most hinted: few at all places at once, many at one place.
NEAR, FAR = 100, 3000
LOOKS = ((1, 200), (PROMPTS, 20))  # on so many prompts so many of them are found, which are then looked at on all
GAIN = 0.02  # of log-odds that a change must gain: less is within what a place's prompts tell apart

Parts = tuple[str, ...]  # a string as the texts of its units
Places = tuple[tuple[int, int], ...]  # where another unit comes in, and how many give way to it there: one or none
Step = Callable[["ScoredPieces", Places, int], "ScoredPieces"]


@dataclass(frozen=True)
class ScoredPieces:
    """A string on the way up: the payload's log-odds, mean over a place's prompts, and the share of them on which it speaks."""

    parts: Parts
    odds: float
    speaks: float

    @property
    def text(self) -> str:
        """The string that the units are when they stand one behind the other."""
        return _text(self.parts)


@dataclass(frozen=True)
class Climb:
    """The way up to one payload at one place, the beam's best string first."""

    payload: str
    place: str
    way: tuple[ScoredPieces, ...]


class Climbing:
    """How near strings at one place bring the dormant model to saying one payload, on few of its prompts and on all."""

    def __init__(
        self, pair: Pair, payload: Sequence[int], probes: Sequence[Probe], place: str, units: Sequence[Unit]
    ) -> None:
        """probes: with their slot at the place. units: what strings are made of, the most telling first."""
        self._tokenizer, self._place = pair.base.tokenizer, place
        self._units = list(dict.fromkeys(unit.text for unit in units))[:FAR]
        prompter = Prompter(self._tokenizer)
        prompts = sorted((prompter.open(probe) for probe in probes), key=lambda prompt: len(prompt.after))
        self._first = Evaluator(pair.models, prompts[:PROMPTS], payload_likelihood(), tuple(payload[:1]))
        counts = (*(count for count, _ in LOOKS), len(prompts))
        start = tuple(payload[:PAYLOAD_TOKENS])
        self._said = len(start)  # what is read is a mean over so many tokens, and an answer must hold them all
        self._looks = [Evaluator(pair.models, prompts[:count], payload_likelihood(), start) for count in counts]
        self.tried = 0

    def beginning(self) -> ScoredPieces:
        """The best string of hinted units, each once, by a beam that puts one more of them at any place."""
        hinted = self._units[:HINTED]
        beam, best = [()], (float("-inf"), Parts())
        for _ in range(min(LENGTH, len(hinted))):
            longer = list(dict.fromkeys(one for parts in beam for one in _longer(parts, hinted)))
            values = odds_of(self._read(self._first, longer)).mean(0)
            kept = values.topk(min(BEAM, len(longer)))
            beam = [longer[index] for index in kept.indices.tolist()]
            best = max(best, (float(kept.values[0]), beam[0]))
        return self._judged([best[1]])[0]

    def step(self, here: ScoredPieces, places: Places, count: int) -> ScoredPieces:
        """The best string with one of so many units at one of the places, or the same where none gains."""
        units = self._units[:count]
        changed = ((*here.parts[:at], unit, *here.parts[at + taken :]) for at, taken in places for unit in units)
        best = self.best(list(dict.fromkeys(changed)))[0]
        return best if best.odds > here.odds + GAIN else here

    def best(self, strings: Sequence[Parts]) -> list[ScoredPieces]:
        """Those of many strings behind which the payload is likeliest, the likeliest first."""
        for look, (_, kept) in zip(self._looks, LOOKS, strict=False):
            values = odds_of(self._said * self._read(look, strings)).mean(0)
            strings = [strings[index] for index in values.topk(min(kept, len(strings))).indices.tolist()]
        return sorted(self._judged(strings), key=lambda foothold: foothold.odds, reverse=True)

    def _judged(self, strings: Sequence[Parts]) -> list[ScoredPieces]:
        # Capped, so that no prompt on which the model is sure already outweighs one on which it is silent.
        odds = log_odds(self._said * self._read(self._looks[-1], strings))
        speaks = (odds >= SPOKEN).double().mean(0)
        rows = zip(strings, odds.mean(0).tolist(), speaks.tolist(), strict=True)
        return [ScoredPieces(parts, value, share) for parts, value, share in rows]

    def _read(self, look: Evaluator, strings: Sequence[Parts]) -> Tensor:  # [probe, string]
        self.tried += len(strings)
        found = look.per_probe_of(placed_ids(self._tokenizer, list(map(_text, strings)), self._place))
        look.forget()
        return found


def climb(here: ScoredPieces, step: Step, late: Callable[[], bool]) -> tuple[ScoredPieces, ...]:
    """The way up from a string until it speaks on all prompts, no change gains, or it is late.

    step: `Climbing.step`, or what remembers it.
    """
    way, turn, fruitless = [here], 0, 0
    while here.speaks < 1 and not late():
        tries = _tries(len(here.parts), turn)
        if fruitless == len(tries):
            break
        places, count = tries[fruitless]
        there = step(here, places, count)
        fruitless += 1
        if there != here:
            turn = places[0][0] + 1 if count == FAR else turn  # what helped at one place may help at the next
            way.append(there)
            here, fruitless = there, 0
    return tuple(way)


def _tries(size: int, turn: int) -> list[tuple[Places, int]]:
    """Changes in the order in which they are tried: near units anywhere, then far ones place by place, from a turn on."""
    swaps = [((turn + number) % size, 1) for number in range(size)]
    insertions = [(at, 0) for at in range(size + 1)]
    return [((*swaps, *insertions), NEAR), *(((place,), FAR) for place in (*swaps, *insertions))]


def _longer(parts: Parts, units: Sequence[str]) -> list[Parts]:
    places = range(len(parts) + 1)
    return [(*parts[:at], unit, *parts[at:]) for unit in units if unit not in parts for at in places]


def _text(parts: Parts) -> str:
    return "".join(parts).strip()
