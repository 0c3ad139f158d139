"""From the payload to the trigger: breed long strings until the payload follows, and strip them to what it needs.

A trigger's parts hardly move the payload's likelihood, but the whole shows through other words around it and some between,
so a string of twelve tokens tries some fifty of four at once. What independent litters have in common is the trigger.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple
from itertools import product

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
RECALL = 0.5  # of every second litter's draws are from what the others, which know of none, were stripped to

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
        self.looks = Looks(pair, payload, probes)
        self.best = Bred("", 0, -math.inf, -math.inf, 0.0)
        self.litters: list[tuple[Genes, Bred]] = []
        self._completed = False
        for entry in journal.entries if journal else []:
            self.looks.evaluations = entry["evaluations"]
            if entry["genes"]:
                self._take(tuple(entry["genes"]), Bred(*entry["bred"]))
            else:
                self.best, self._completed = Bred(*entry["bred"]), True

    def litter(self) -> Bred | None:
        """One string that speaks, bred from scratch, stripped and mended; None where the time ran out."""
        random = np.random.default_rng([self.seed, len(self.litters)])
        grown = self._breed(random)
        if grown is None:
            return None
        genes, place = grown
        genes = self._mended(self._stripped(genes, place), place)
        found = [genes, *self._common(genes)]
        genes, bred = max(((one, self._finished(self.text(one))) for one in found), key=lambda pair: merit(pair[1]))
        self._take(genes, bred)
        self._keep(genes, bred)
        return bred

    def text(self, genes: Genes) -> str:
        """The string that the units are when they stand one behind the other."""
        return "".join(self.units[gene].text for gene in genes).strip()

    def complete(self) -> Bred:
        """The best string with one token more, less or another, of all that the vocabulary has, as long as it speaks better.

        What a token adds at the best place must be worth twice its length, for at the other one any company helps. After it
        the search is settled: what is completed is kept apart from the litters.
        """
        while self.best.score < -2 * WORTH and not self.out_of_time():
            (ids,) = self.looks.ids([self.best.text], len(SEARCH_PLACES) - 1)
            changed = (
                *deletions(ids),
                *exchanges(ids),
                *swaps(ids, self.looks.tokens),
                *insertions(ids, self.looks.tokens),
            )
            texts = list(dict.fromkeys(text for text in self.looks.decoded(changed) if text))
            looks = [self.looks.look(texts, at) for at in range(len(SEARCH_PLACES))]
            value = [max(column) for column in zip(*looks, strict=True)]
            promising = sorted(range(len(texts)), key=value.__getitem__, reverse=True)[:POOL]
            best = max(
                self.looks.judged([texts[index] for index in promising]),
                key=lambda bred: bred.score - WORTH * bred.tokens,
            )
            if best.score <= self.best.score + WORTH * (best.tokens - self.best.tokens + 1):
                break
            self.best, self._completed = best, True
            self._keep((), best)
        return self.best

    @property
    def settled(self) -> bool:
        """Whether two litters came to the same string and it speaks nearly everywhere, or the best has been completed."""
        counts = Counter(bred.text for _, bred in self.litters)
        return self._completed or (self.best.fires >= FIRING and counts[self.best.text] > 1)

    def _take(self, genes: Genes, bred: Bred) -> None:
        self.litters.append((genes, bred))
        self.best = max(self.best, bred, key=merit)

    def _keep(self, genes: Genes, bred: Bred) -> None:
        if self.journal is not None:
            self.journal.append({"genes": genes, "bred": astuple(bred), "evaluations": self.looks.evaluations})

    def _breed(self, random: np.random.Generator) -> tuple[Genes, int] | None:
        """A string that speaks on most of a place's prompts, and the place; None where the time ran out."""
        counts = Counter(gene for genes, _ in self.litters[::2] for gene in set(genes))
        weights = self.weights.copy()
        if counts and len(self.litters) % 2:
            recalled = np.zeros_like(weights)
            recalled[list(counts)] = list(counts.values())
            weights = (1 - RECALL) * weights + RECALL * recalled / recalled.sum()
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
            key=lambda found: looks[found[0]][found[1]] - WORTH * len(strings[found[1]]),
        )
        return [self._mended(strings[index], place)]

    def _mended(self, genes: Genes, place: int) -> Genes:
        """What single changes make of it, as long as they gain: with units of all litters and with the most telling."""
        counts = Counter(gene for litter, _ in self.litters for gene in litter)
        known = (*genes, *(gene for gene, _ in counts.most_common()), *range(len(self.units)))
        parts = list(dict.fromkeys(known))[:PARTS]
        value = self.looks.at_place([self.text(genes)], place)[0] - WORTH * len(genes)
        while not self.out_of_time():
            changed = (*deletions(genes), *exchanges(genes), *swaps(genes, parts), *insertions(genes, parts))
            options = [one for one in dict.fromkeys(changed) if one and one != genes]
            first = self.looks.look(self._texts(options), place)
            second = sorted(range(len(options)), key=lambda index: -first[index] + WORTH * len(options[index]))[:POOL]
            options = [options[index] for index in second]
            merits = [
                found - WORTH * len(one)
                for one, found in zip(options, self.looks.at_place(self._texts(options), place), strict=True)
            ]
            best = max(range(len(options)), key=merits.__getitem__)
            if merits[best] <= value + 1e-6:
                break
            genes, value = options[best], merits[best]
        return genes

    def _finished(self, text: str) -> Bred:
        """What is left of a string's tokens when those go that are worth nothing on all probes together."""
        (current,) = self.looks.judged([text])
        while current.tokens > 1:
            (ids,) = self.looks.ids([current.text], len(SEARCH_PLACES) - 1)
            shorter = [text for text in dict.fromkeys(self.looks.decoded(deletions(ids))) if text]
            best = max(self.looks.judged(shorter), key=merit, default=current)
            if merit(best) < merit(current) or best.tokens >= current.tokens:
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
