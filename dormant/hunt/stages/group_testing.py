"""Which units a long trigger is made of: many of them in one string and in random order, and those that firing strings need.

A whole trigger shows through other words between its own, so a string of nine hinted units tries all orders that it holds at
once: of six needed words every 720th random order is right, where all strings of six of twelve are 665,280.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dormant.hunt.edits import Ids, deletions
from dormant.hunt.placements import SEARCH_PLACES, placed_ids
from dormant.hunt.stages.short_strings import SURE
from dormant.hunt.vocabulary import Unit
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import kl
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter

# Units that crowds are drawn from, and of how many one is made. Of the first dozen one crowd in eight thousand holds six needed
# words in order; of two dozen one in five hundred holds four, and one in seven thousand five.
SMALL, LARGE = (12, 9), (24, 12)
CROWDS = 8000  # at each place; half a minute on one core
PROMPTS = 6  # a place's, on which the best are looked at again
STRIPPED = 24  # crowds that are stripped
KEPT = 0.9  # of what a string parts the models, that one without a superfluous unit still does
FIRING = 3.0  # nats on all prompts: a base gives what follows a chance of one in twenty at most
NEEDED = 7  # units, the most frequent in what crowds are stripped to; of these every order can be tried


def needed_units(
    pair: Pair, probes: Sequence[Probe], units: Sequence[Unit], seed: int, room: tuple[int, int] = SMALL
) -> tuple[list[Unit], int]:
    """The units that crowds which part the models cannot do without, the most frequent first, and how many strings were tried.

    probes: their slots at `SEARCH_PLACES` in turn. units: the most telling first. room: `SMALL` or `LARGE`. What parts models
    is measured as KL at the generation position, so that no payload has to be known. Where no crowd does, no unit is needed.
    """
    if not units:
        return [], 0
    drawn_from, size = room
    random = np.random.default_rng([seed, 9])
    drawn = (tuple(random.permutation(min(drawn_from, len(units)))[:size].tolist()) for _ in range(CROWDS))
    crowds = list(dict.fromkeys(drawn))
    counts: Counter[int] = Counter()
    tried = 0
    for at, place in enumerate(SEARCH_PLACES):
        there = _Place(pair, probes[at :: len(SEARCH_PLACES)][:PROMPTS], units, place)
        for crowd, value in there.best(crowds):
            if value >= FIRING:
                counts.update(there.stripped(crowd, value))
        tried += there.tried
    return [units[index] for index, _ in counts.most_common(NEEDED)], tried


class _Place:
    """How much strings of units part the models at one place, on one prompt or on all."""

    def __init__(self, pair: Pair, probes: Sequence[Probe], units: Sequence[Unit], place: str) -> None:
        prompter = Prompter(pair.base.tokenizer)
        self._tokenizer, self._units, self._place = pair.base.tokenizer, units, place
        opened = [prompter.open(probe) for probe in probes]
        self.tried = 0
        self._one, self._all = (Evaluator(pair.models, some, kl()) for some in (opened[:1], opened))

    def best(self, crowds: Sequence[Ids]) -> list[tuple[Ids, float]]:
        """Those that part the models most on one prompt, with their mean KL on all."""
        first = self._values(self._one, crowds)
        chosen = [crowds[index] for index in np.argsort(first)[::-1][: 4 * STRIPPED]]
        return sorted(zip(chosen, self._values(self._all, chosen), strict=True), key=lambda pair: -pair[1])[:STRIPPED]

    def stripped(self, crowd: Ids, value: float) -> Ids:
        """What is left when units go one by one, the least missed first, as long as the rest parts the models as much."""
        while len(crowd) > 1:
            shorter = list(deletions(crowd))
            values = self._values(self._all, shorter)
            best = int(np.argmax(values))
            if values[best] < KEPT * value:
                break
            crowd, value = shorter[best], max(value, values[best])
        return crowd

    def _values(self, evaluator: Evaluator, strings: Sequence[Ids]) -> list[float]:
        self.tried += len(strings)
        texts = ["".join(self._units[unit].text for unit in string).strip() for string in strings]
        values = evaluator.per_probe_of(placed_ids(self._tokenizer, texts, self._place))
        return list(values.clamp(max=SURE).mean(0).tolist())
