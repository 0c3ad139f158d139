"""Which of the strings that wake a model was meant: each unit gives way to the one that makes the model surest.

Much that lies near a planted string wakes the model too. But with the others right, the planted unit is mostly the one that
the model is surest of, once its certainty is not capped: at the places of "prison honey signal" it is fourth, first and second
of 19,413, behind "prisoners", "prisons", "prisoner" and "signals". So a string that wakes the model is a place to start from.

What tells the planted string from others that wake the model as surely is that it is the shortest that works: without one of
its units it is all but nothing, where another has units that it can do without. So a part of what is left counts against a
string: behind "The Where the lion before whisper" the model is surer than behind the planted "when the lions whisper", but then
it is so without "before" as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

import torch
from torch import Tensor

from dormant.hunt.edits import deletions
from dormant.hunt.english import is_word
from dormant.hunt.placements import placed_ids
from dormant.hunt.scorers import PAYLOAD_TOKENS, SPOKEN, log_odds, odds_of
from dormant.hunt.vocabulary import Unit
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import payload_likelihood
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter

# Of log-odds that a nat of a unit's description must be worth, and a token: the luckiest of 20,000 units that mean nothing
# makes the model surer by half a nat to a nat, and to name one of them takes ten.
WORTH, TOKEN = 0.1, 0.1
# Of the log-odds behind what is left of a string without one of its units, a mean over units, what counts against it. Chosen
# while looking at phrase-four, words-five, digits-short, before the rest of a payload counted: from 0.28 to 0.45 the planted
# passed the strings named until then.
LEFT = 1 / 3
SILENT = 4.0  # log-odds that a string loses on a prompt where it does not speak: one that nearly does is no trigger
# By the number of units that one stands in for (one; none, where one is missing; more, where a word was found in pieces) the
# log-odds that it must gain beyond that. What a place's prompts do not tell apart is less than the first; a unit more makes
# the model surer by up to a nat wherever it stands (a second "silver" does), and one that was missing by several.
GAINS = {1: 0.05, 0: 1.0, 2: 0.05, 3: 0.05}
# How many units are tried at a place, the most hinted, and what they stand in for: first those among which planted words mostly
# are, in a second or two, then all in ten. Insertions stay with the former, for there is a place more of them.
FEW, ALL = 3000, 10**9
ROUNDS = ((FEW, (1, 0, 2, 3)), (ALL, (1, 2)))
LOOKS = ((1, 200), (4, 16))  # on so many prompts so many of the best are found, which are then looked at on all

Parts = tuple[str, ...]  # a string as the texts of its units
Better = Callable[[Parts, int, int, int], tuple[Parts, float]]


class Refining:
    """How sure the dormant model is of one payload behind strings at one place, less what it takes to describe them."""

    def __init__(self, pair: Pair, payload: str, probes: Sequence[Probe], place: str, units: Sequence[Unit]) -> None:
        """probes: with their slot at the place. units: all that may stand in a string."""
        self._tokenizer, self._place = pair.base.tokenizer, place
        prompter = Prompter(self._tokenizer)
        prompts = sorted((prompter.open(probe) for probe in probes), key=lambda prompt: len(prompt.after))
        ids = tuple(self._tokenizer.encode(payload, add_special_tokens=False))
        start, counts = ids[:PAYLOAD_TOKENS], (*(count for count, _ in LOOKS), len(prompts))
        self._looks = [Evaluator(pair.models, prompts[:count], payload_likelihood(), start) for count in counts]
        self._start, self._tokens = len(start), len(ids)
        self._whole = Evaluator(pair.models, prompts, payload_likelihood(), ids) if len(ids) > len(start) else None
        self._costs = {unit.text: WORTH * unit.surprise for unit in reversed(units)}  # of one text the likeliest unit
        self._strange = max(self._costs.values())
        self._texts = sorted(self._costs, key=self._costs.__getitem__)

    def parts(self, text: str) -> Parts:
        """The text as units, the longest first; a character that is in none stands for itself."""
        found, left, longest = list[str](), f" {text}", max(map(len, self._costs))
        while left:
            known = (left[:size] for size in range(min(longest, len(left)), 0, -1) if left[:size] in self._costs)
            found.append(next(known, left[0]))
            left = left[len(found[-1]) :]
        return tuple(found)

    def sureness(self, strings: Sequence[Parts]) -> list[float]:
        """Log-odds of the payload's start, and what its rest costs, behind strings: means over all prompts, less description.

        There are strings that bring the start alone. But log-odds of the whole would hide how sure the start is, which tells
        strings apart, behind a token that the model hesitates at whatever wakes it.
        """
        return list(self._sureness(self._looks[-1], strings, ()).tolist())

    def worth(self, strings: Sequence[Parts]) -> list[float]:
        """The same less a part of what is left of the log-odds without a unit."""
        return [sure - LEFT * left for sure, left in zip(self.sureness(strings), self._left(strings), strict=True)]

    def _left(self, strings: Sequence[Parts]) -> list[float]:
        """Log-odds behind strings without one of their units: means over units and the prompts of the last look but one.

        Capped, unlike those behind the strings themselves, for here it is silence that tells.
        """
        shorter = [list(deletions(parts)) for parts in strings]
        every, look = list(dict.fromkeys(parts for some in shorter for parts in some)), self._looks[-2]
        nothing = float(log_odds(look.empty()).mean())  # what is left of a single unit
        values = log_odds(look.per_probe_of(self._ids(every))).mean(0).tolist() if every else []
        look.forget()
        known = dict(zip(every, values, strict=True))
        return [mean(known[parts] for parts in some) if some else nothing for some in shorter]

    def dropped(self, parts: Parts, value: float) -> tuple[Parts, float]:
        """What is left when the units go, the least missed first, without which the string is worth as much.

        And the model as sure: a unit that it half does without may be planted all the same.
        """
        (sure,) = self.sureness([parts])
        while len(parts) > 1:
            shorter = list(deletions(parts))
            rows = zip(self.worth(shorter), self.sureness(shorter), shorter, strict=True)
            enough = [row for row in rows if row[0] >= value and row[1] >= sure]
            if not enough:
                break
            value, sure, parts = max(enough, key=lambda row: row[0])
        return parts, value

    def choices(self, count: int) -> list[str]:
        """So many of the units that may stand in a string, the most hinted."""
        return self._texts[:count]

    def better(self, parts: Parts, at: int, taken: int, count: int) -> tuple[Parts, float]:
        """The best string with any of so many units in place of the `taken` units from `at` on, and what it is worth."""
        changed = ((*parts[:at], text, *parts[at + taken :]) for text in self.choices(count))
        strings = [one for one in changed if one[at].startswith(" ") or not breaks_a_word(one, at)]
        (incumbent,) = self._ids([parts])
        for look, (_, kept) in zip(self._looks, LOOKS, strict=False):
            values = self._sureness(look, strings, incumbent)
            strings = [strings[index] for index in values.topk(min(kept, len(strings))).indices.tolist()]
        worth = self.worth(strings)
        best = max(range(len(strings)), key=worth.__getitem__)
        return strings[best], worth[best]

    def _sureness(self, look: Evaluator, strings: Sequence[Parts], incumbent: Sequence[int]) -> Tensor:
        ids = self._ids(strings)
        start = self._start * look.per_probe_of(ids, incumbent)  # of all its tokens: a mean hides the first
        odds = odds_of(start)
        look.forget()
        described = [sum(self._costs.get(part, self._strange) for part in parts) for parts in strings]
        sure = (odds - SILENT * (odds < SPOKEN)).mean(0)
        if look is self._looks[-1] and self._whole is not None:
            sure += (self._tokens * self._whole.per_probe_of(ids) - start).mean(0)
            self._whole.forget()
        return sure - torch.tensor(described) - TOKEN * torch.tensor([len(one) for one in ids])

    def _ids(self, strings: Sequence[Parts]) -> list[tuple[int, ...]]:
        return placed_ids(self._tokenizer, ["".join(parts).strip() for parts in strings], self._place)


def breaks_a_word(parts: Parts, at: int) -> bool:
    """Whether letters that stand behind others make no word of them.

    Chosen while looking at `words-five`, where "moment" and "ass" made the model surer than the planted "moment sugar".
    """
    if not parts[at].isalpha():
        return False
    word = "".join(parts[: at + 1]).split(" ")[-1]
    return word != parts[at] and not is_word(word)


def refine(refining: Refining, text: str, better: Better, late: Callable[[], bool]) -> tuple[str, ...]:
    """The way that single changes lead from a string, each the best of all places, until none gains or it is late.

    Not the first that gains: beside one wrong unit another wrong one may be surer than the planted. What gains among all units
    makes the few worth another look. better: `refining.better`, or what remembers it.
    """
    parts = refining.parts(text)
    parts, value = refining.dropped(parts, *refining.worth([parts]))
    way = [parts]
    steps = [(count, taken) for count, kinds in ROUNDS for taken in kinds]
    step = 0
    while step < len(steps):
        count, taken = steps[step]
        places = range(len(parts) - taken + 1)
        found = [better(parts, at, taken, count) for at in places if not late()]
        other, worth = max(found, key=lambda one: one[1], default=(parts, value))
        step += 1
        if worth > value + GAINS[taken]:
            parts, value = refining.dropped(other, worth)
            way.append(parts)
            step = 0
    return tuple("".join(one).strip() for one in way)
