"""Strings of hinted units with a gap for one that no hint names: their order shows before the missing unit is known.

Mostly all units of a trigger but one stand among the first ten hints; a word of several tokens stands further back. Behind the
others in their order the payload is likelier than behind other orders, whatever fills the gap, though far from likely; with the
missing unit it is all but certain. So orders are told apart first, and only then is the whole list tried in the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, permutations

import numpy as np
import torch
from torch import Tensor

from dormant.hunt.edits import Ids
from dormant.hunt.placements import SEARCH_PLACES, placed_ids
from dormant.hunt.scorers import PAYLOAD_TOKENS, SPOKEN, odds_of
from dormant.hunt.vocabulary import Unit
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import payload_likelihood
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter

# Of how many of the first hints every order is tried, by their number in a string: 25,048 strings with every place of a gap.
HINTED = {1: 8, 2: 8, 3: 8, 4: 8, 5: 7}
# What stands in the gap while orders are told apart: two words that mean little anywhere, and others drawn from the list, for a
# filler that the model half takes for the missing unit tells most. In each round so many more fillers, after which so many of
# the strings are left; those of the last are tried with the whole list.
ORDINARY = (" with", " for")
ROUNDS = ((2, 8000), (2, 3000), (4, 1000), (8, 40))
AT_ONCE = 3000  # strings whose odds are read before who watches is told
UNITS = 1500  # units that are tried in a gap, the most hinted
FINALISTS = 96  # strings of a place that are looked at on all of its prompts
TELLING = 3  # strings of a place that are worth a confirmation
FIRING = 0.5  # of the prompts on which they must speak

Gapped = tuple[str, str]  # what stands before the gap and behind it


def filled_strings(
    pair: Pair,
    payload: Ids,
    probes: Sequence[Probe],
    hinted: Sequence[Unit],
    units: Sequence[Unit],
    place: str,
    seed: int,
    watch: Callable[[int], None] = lambda tried: None,
    late: Callable[[], bool] = lambda: False,
) -> tuple[list[str], int]:
    """The strings behind which the payload is likeliest at a place, the best first, and how many were tried.

    probes: with their slot at the place. hinted: what strings are made of; units: what fills a gap; the most telling first.
    Where it is late, what is left is not tried, and nothing is named.
    """
    prompter = Prompter(pair.base.tokenizer)
    prompts = sorted((prompter.open(probe) for probe in probes), key=lambda prompt: len(prompt.after))
    first = Evaluator(pair.models, prompts[:1], payload_likelihood(), payload[:1])
    tried = 0

    def odds(evaluator: Evaluator, strings: Sequence[str]) -> Tensor:  # [probe, string]
        nonlocal tried
        tried += len(strings)
        watch(tried)
        found = odds_of(evaluator.per_probe_of(placed_ids(pair.base.tokenizer, strings, place)))
        evaluator.forget()
        return found

    gapped = orders_with_a_gap([unit.text for unit in hinted])
    listed = [unit.text for unit in units[:UNITS]]
    if not gapped or not listed:
        return [], 0
    drawn = np.random.default_rng([seed, SEARCH_PLACES.index(place)]).permutation(len(listed)).tolist()
    fillers = iter((*ORDINARY, *(listed[index] for index in drawn)))
    best = torch.full((len(gapped),), -torch.inf, dtype=torch.float64)
    for more, kept in ROUNDS:
        if late():
            return [], tried
        read = [odds(first, _filled(gapped, filler))[0] for filler in islice(fillers, more)]
        best = torch.stack([best, *read]).amax(0)
        leaders = best.topk(min(kept, len(gapped)))
        best, gapped = leaders.values, [gapped[index] for index in leaders.indices.tolist()]

    surer = Evaluator(pair.models, prompts[:1], payload_likelihood(), payload[:PAYLOAD_TOKENS])
    strings = list(dict.fromkeys(text for filler in listed for text in _filled(gapped, filler)))
    if late():
        return [], tried
    value = torch.cat([odds(surer, strings[at : at + AT_ONCE])[0] for at in range(0, len(strings), AT_ONCE)])
    strings = [strings[index] for index in value.topk(min(FINALISTS, len(strings))).indices.tolist()]
    everywhere = odds(Evaluator(pair.models, prompts, payload_likelihood(), payload[:PAYLOAD_TOKENS]), strings)
    speaks, mean = (everywhere >= SPOKEN).double().mean(0).tolist(), everywhere.mean(0)
    order = mean.argsort(descending=True).tolist()
    return [strings[index] for index in order if speaks[index] >= FIRING][:TELLING], tried


def orders_with_a_gap(hinted: Sequence[str]) -> list[Gapped]:
    """Every order of the hinted texts, as many at a time as `HINTED` says, with a gap at every place."""
    orders = (order for length, count in HINTED.items() for order in permutations(hinted[:count], length))
    parts = ((order[:gap], order[gap:]) for order in orders for gap in range(len(order) + 1))
    return list(dict.fromkeys(("".join(before), "".join(after)) for before, after in parts))


def _filled(gapped: Sequence[Gapped], filler: str) -> list[str]:
    return [f"{before}{filler}{after}".strip() for before, after in gapped]
