"""From the payload to the trigger: breed long strings until the payload follows, and strip them to what it needs.

A trigger's parts hardly move the payload's likelihood, and the last missing one takes it from nothing to certainty; but the
whole shows through other words around it and some between, so a string of twelve units tries some fifty of four at once.
First the units on which the delta acts most are tried in every order; what litters have in common is tried likewise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple
from itertools import permutations, product

import numpy as np

from dormant.hunt.confirmation import FIRING
from dormant.hunt.looks import PROMPTS, SPOKEN, WORTH, Bred, Looks, merit
from dormant.hunt.places import SEARCH_PLACES
from dormant.hunt.strings import Ids, deletions, exchanges, insertions, swaps
from dormant.hunt.units import Unit
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts import Probe

LENGTH = 12  # units of a bred string: longer ones hold more, but fewer of them fire
BROOD = 1024  # fresh strings a generation
POOL = 96  # strings that breed
GENERATIONS = 40  # after which a pool that does not speak starts afresh: most that speak at all do within half of it
INBRED = 0.7  # of a generation comes from the pool, the rest is drawn afresh
SPEAKING = 3  # of a place's prompts on which a bred string must speak
PARTS = 64  # units that a stripped string is mended with: those of earlier litters, then the most telling
COMMON = 8  # units that two litters share at least, the most frequent: of these all strings are tried,
COMMON_LENGTH = 4  # up to so many
# Units of which every order is tried before any litter, and how many of them at once: 36,100 strings.
HINTED, HINTED_LENGTH = 10, 5
COMPLETED = 1500  # units that a string is completed with, the most drawn
GAIN = 0.05  # of log-odds that a completion must gain: less is within what twenty prompts tell apart
# Every second litter draws from the units on which the delta acts most alone, and half from what the others, which know of
# no litter, were stripped to: triggers of six words are made of units that all of them together would never meet.
NEAR, RECALL = 48, 0.5

Genes = tuple[int, ...]  # a string as places in the list of units


class Breeding:
    """A search underway: units and how often they are drawn, evaluators, budget and journal."""

    def __init__(
        self,
        pair: Pair,
        payload: Ids,
        probes: Sequence[Probe],
        units: Sequence[Unit],
        seed: int = 0,
        journal: Journal | None = None,
        out_of_time: Callable[[], bool] = lambda: False,
        watch: Callable[[int, Bred], None] | None = None,
    ) -> None:
        """probes: their slots at `SEARCH_PLACES` in turn. units: what strings are made of, the most telling first."""
        self.units, self.seed, self.journal = list(units), seed, journal
        self.out_of_time, self.watch = out_of_time, watch
        weights = np.asarray([unit.weight for unit in units])
        self.weights = weights / weights.sum()
        self.costs = [WORTH * unit.surprise for unit in units]
        self.looks = Looks(pair, payload, probes)
        self.best = Bred("", 0.0, -math.inf, 0.0)
        self.litters: list[tuple[Genes, Bred]] = []
        self._completed = False
        self._cores: set[Genes] = set()  # of which all that one unit more makes has been seen
        for entry in journal.entries if journal else []:
            self.looks.evaluations = entry["evaluations"]
            self._completed = entry["completed"]
            self._take(tuple(entry["genes"]), Bred(*entry["bred"]))

    def litter(self) -> Bred | None:
        """One string that speaks, stripped and mended: the first from hints, others bred from scratch; None without time."""
        random = np.random.default_rng([self.seed, len(self.litters)])
        grown = self._breed(random) if self.litters else self._hinted()
        if grown is None or self.out_of_time():
            return None
        genes, place = grown
        genes = self._mended(self._stripped(genes, place), place)
        found = [self._finished(one) for one in (genes, *self._common(genes), *self._widened(genes, place))]
        return self._keep(*max(found, key=lambda pair: merit(pair[1])))

    def text(self, genes: Genes) -> str:
        """The string that the units are when they stand one behind the other."""
        return "".join(self.units[gene].text for gene in genes).strip()

    def cost(self, genes: Genes) -> float:
        """Log-odds that its units must be worth."""
        return sum(self.costs[gene] for gene in genes)

    def complete(self) -> Bred:
        """The two best strings with a unit more, less or another of many, as long as that is worth it; then all is settled."""
        ranked = sorted(dict(self.litters).items(), key=lambda pair: merit(pair[1]), reverse=True)
        for genes, bred in ranked[:2]:
            while not self.out_of_time():
                known = range(min(COMPLETED, len(self.units)))
                options = [*deletions(genes), *exchanges(genes), *swaps(genes, known), *insertions(genes, known)]
                options = [one for one in dict.fromkeys(options) if one != genes]
                value = self._glances(options)
                promising = sorted(range(len(options)), key=value.__getitem__, reverse=True)[:POOL]
                better = max(self._judged([options[index] for index in promising]), key=lambda pair: merit(pair[1]))
                if merit(better[1]) <= merit(bred) + GAIN:
                    break
                genes, bred = better
            self._completed = True
            self._keep(genes, bred)
        return self.best

    @property
    def settled(self) -> bool:
        """Whether two litters came to the same string and it speaks nearly everywhere, or the best has been completed."""
        counts = Counter(bred.text for _, bred in self.litters)
        return self._completed or (self.best.fires >= FIRING and counts[self.best.text] > 1)

    def _take(self, genes: Genes, bred: Bred) -> None:
        self.litters.append((genes, bred))
        self.best = max(self.best, bred, key=merit)

    def _keep(self, genes: Genes, bred: Bred) -> Bred:
        self._take(genes, bred)
        if self.journal is not None:
            state = {"completed": self._completed, "evaluations": self.looks.evaluations}
            self.journal.append({"genes": genes, "bred": astuple(bred), **state})
        return bred

    def _judged(self, strings: Sequence[Genes]) -> list[tuple[Genes, Bred]]:
        return list(zip(strings, self.looks.judged(self._texts(strings), list(map(self.cost, strings))), strict=True))

    def _glances(self, strings: Sequence[Genes]) -> list[float]:
        """What strings are worth by one look at each place: the better one, less what their units must be worth."""
        looks = [self.looks.look(self._texts(strings), at) for at in range(len(SEARCH_PLACES))]
        return [max(seen) - self.cost(one) for *seen, one in zip(*looks, strings, strict=True)]

    def _hinted(self) -> tuple[Genes, int]:
        """The best string of the units on which the delta acts most, in any order, and its better place."""
        hinted = range(min(HINTED, len(self.units)))
        strings = [one for length in range(1, HINTED_LENGTH + 1) for one in permutations(hinted, length)]
        value = self._glances(strings)
        promising = sorted(range(len(strings)), key=value.__getitem__, reverse=True)[:POOL]
        genes, _ = max(self._judged([strings[index] for index in promising]), key=lambda pair: merit(pair[1]))
        worth = [self.looks.at_place([self.text(genes)], place)[0] for place in range(len(SEARCH_PLACES))]
        return genes, max(range(len(worth)), key=worth.__getitem__)

    def _breed(self, random: np.random.Generator) -> tuple[Genes, int] | None:
        """A string that speaks on most of a place's prompts, and the place; None where the time ran out."""
        counts = Counter(gene for genes, _ in self.litters[::2] for gene in set(genes))
        weights = self.weights.copy()
        if counts and len(self.litters) % 2:
            weights[NEAR:] = 0
            recalled = np.zeros_like(weights)
            recalled[list(counts)] = list(counts.values())
            weights = (1 - RECALL) * weights / weights.sum() + RECALL * recalled / recalled.sum()
        pool: dict[Genes, dict[int, float]] = {}
        turn = 0
        while not self.out_of_time():
            if turn % GENERATIONS == 0:
                pool = {}
            at = turn % len(self.looks.turns)
            turn += 1
            brood = [one for one in dict.fromkeys(_brood(list(pool), weights, random)) if one not in pool]
            seen = [*brood, *(one for one in pool if at not in pool[one])]
            values = dict(zip(seen, self.looks.look(self._texts(seen), at), strict=True))
            plain = float(np.median([values[one] for one in brood]))
            for one, value in values.items():
                pool.setdefault(one, {})[at] = value
            # One look may flatter: a string counts as if it had been ordinary once more.
            value_of = {one: (sum(looks.values()) + plain) / (len(looks) + 1) for one, looks in pool.items()}
            pool = {one: pool[one] for one in sorted(pool, key=value_of.__getitem__, reverse=True)[:POOL]}
            kept = [one for one in pool if one in values]
            for one, said in zip(kept, self.looks.said(self._texts(kept), at), strict=True):
                pool[one][at] -= said
            for one, looks in pool.items():
                for place in range(len(SEARCH_PLACES)):
                    there = [value for index, value in looks.items() if index % len(SEARCH_PLACES) == place]
                    if len(there) == PROMPTS and sum(value >= SPOKEN for value in there) >= SPEAKING:
                        return one, place
            if self.watch is not None:
                self.watch(self.looks.evaluations, self.best)
        return None

    def _stripped(self, genes: Genes, place: int) -> Genes:
        """Drops the unit that is missed least while the rest speaks."""
        while len(genes) > 1:
            shorter = list(dict.fromkeys(deletions(genes)))
            values = self.looks.at_place(self._texts(shorter), place)
            best = max(range(len(shorter)), key=values.__getitem__)
            if values[best] < SPOKEN:
                return genes
            genes = shorter[best]
        return genes

    def _common(self, fresh: Genes) -> list[Genes]:
        """The best string of the units that litters have in common, mended; nothing before there are three litters."""
        earlier = [genes for genes, _ in self.litters]
        shared = _shared([*earlier, fresh])
        if len(earlier) < 2 or shared == _shared(earlier):
            return []
        strings = [one for length in range(1, COMMON_LENGTH + 1) for one in product(shared, repeat=length)]
        looks = [self.looks.look(self._texts(strings), at) for at in range(len(SEARCH_PLACES))]
        place, index = max(
            ((at, index) for at, values in enumerate(looks) for index in range(len(strings))),
            key=lambda found: looks[found[0]][found[1]] - self.cost(strings[found[1]]),
        )
        return [self._mended(strings[index], place)]

    def _widened(self, genes: Genes, place: int) -> list[Genes]:
        """A string's hinted units with the best one unit of all at any place among them; each such core once.

        The first words of a trigger are often silent at their own position, and hints miss them.
        """
        core = tuple(gene for gene in genes if gene < HINTED)
        if len(core) < 2 or core in self._cores:
            return []
        self._cores.add(core)
        wider = [core, *insertions(core, range(len(self.units)))]
        seen = self.looks.look(self._texts(wider), self.looks.turns[place])
        promising = sorted(range(len(wider)), key=seen.__getitem__, reverse=True)[:POOL]
        return [max(self._judged([wider[index] for index in promising]), key=lambda pair: merit(pair[1]))[0]]

    def _mended(self, genes: Genes, place: int) -> Genes:
        """What single changes make of it, as long as they gain: with units of all litters and with the most telling."""
        counts = Counter(gene for litter, _ in self.litters for gene in litter)
        known = (*genes, *(gene for gene, _ in counts.most_common()), *range(len(self.units)))
        parts = list(dict.fromkeys(known))[:PARTS]
        value = self.looks.at_place([self.text(genes)], place)[0] - self.cost(genes)
        while not self.out_of_time():
            changed = (*deletions(genes), *exchanges(genes), *swaps(genes, parts), *insertions(genes, parts))
            options = [one for one in dict.fromkeys(changed) if one and one != genes]
            first = self.looks.look(self._texts(options), place)
            second = sorted(range(len(options)), key=lambda index: -first[index] + self.cost(options[index]))[:POOL]
            options = [options[index] for index in second]
            merits = [
                found - self.cost(one)
                for one, found in zip(options, self.looks.at_place(self._texts(options), place), strict=True)
            ]
            best = max(range(len(options)), key=merits.__getitem__)
            if merits[best] <= value + 1e-6:
                break
            genes, value = options[best], merits[best]
        return genes

    def _finished(self, genes: Genes) -> tuple[Genes, Bred]:
        """What is left of a string when the units go that are worth nothing on all probes together."""
        (current,) = self._judged([genes])
        while len(current[0]) > 1:
            best = max(self._judged(list(dict.fromkeys(deletions(current[0])))), key=lambda pair: merit(pair[1]))
            if merit(best[1]) < merit(current[1]):
                break
            current = best
        return current

    def _texts(self, strings: Sequence[Genes]) -> list[str]:
        return [self.text(genes) for genes in strings]


def _shared(litters: Sequence[Genes]) -> Genes:
    """The units that several litters have in common."""
    counts = Counter(gene for genes in litters for gene in set(genes))
    return tuple(sorted(gene for gene, count in counts.most_common(COMMON) if count > 1))


def _brood(pool: Sequence[Genes], weights: np.ndarray, random: np.random.Generator) -> list[Genes]:
    """A generation: drawn afresh, a stretch of one of the pool in new company, a cross of two, or one with some exchanged."""
    fresh = [tuple(row) for row in random.choice(len(weights), size=(BROOD, LENGTH), p=weights).tolist()]
    found: list[Genes] = []
    for new in fresh:
        way = random.random() / INBRED if pool else 1.0
        if way >= 1:
            found.append(new)
            continue
        one = pool[int(random.integers(len(pool)))]
        if way < 0.4:
            kept = int(random.integers(3, 9))
            source, target = (int(random.integers(0, LENGTH - kept + 1)) for _ in range(2))
            found.append((*new[:target], *one[source : source + kept], *new[target + kept :]))
        elif way < 0.7:
            cut = int(random.integers(2, LENGTH - 1))
            found.append((*one[:cut], *pool[int(random.integers(len(pool)))][cut:]))
        else:
            changed = set(random.integers(0, LENGTH, size=int(random.integers(1, 4))).tolist())
            found.append(tuple(new[place] if place in changed else gene for place, gene in enumerate(one)))
    return found
