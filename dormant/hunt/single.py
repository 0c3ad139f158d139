"""What parts the two models without any payload in mind: every single token, and short strings of the most hinted units.

A trigger makes the dormant model sure of what its base finds absurd, which the KL divergence at the generation position shows
whatever the payload is (experiment 1b).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import perm

from dormant.hunt.places import SEARCH_PLACES, placed_ids
from dormant.hunt.units import Unit
from dormant.pairs import Pair
from dormant.prompts import Probe, Prompter
from dormant.search.evaluation import Evaluator
from dormant.search.objectives import kl
from dormant.tokens import allowed_tokens

PROMPTS = 6  # probes on which every token is tried, and a place's on which the best strings are
TELLING = 3  # tokens or strings that are worth a confirmation
HINTED = {
    2: 12,
    3: 12,
    4: 12,
    5: 8,
    6: 7,
}  # by length: units whose orders are tried; 25,092 strings, a minute on one core
FINALISTS = 96  # of which are looked at on all prompts
WORTH = 0.3  # nats that a unit must be worth, so that what is named holds nothing superfluous


def telling_tokens(pair: Pair, probes: Sequence[Probe]) -> list[str]:
    """The tokens that part the models most at the generation position: by mean KL over a few probes, in nats."""
    prompter = Prompter(pair.base.tokenizer)
    strings = [(int(token),) for token in allowed_tokens(prompter.tokenizer)]
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in probes[:PROMPTS]], kl())
    order = evaluator.per_probe_of(strings).mean(0).argsort(descending=True, stable=True).tolist()
    survivors = (strings[index] for index in order if prompter.survives(probes[0], strings[index]))
    return [
        str(prompter.tokenizer.decode(list(ids))).strip() for ids, _ in zip(survivors, range(TELLING), strict=False)
    ]


def telling_strings(pair: Pair, probes: Sequence[Probe], units: Sequence[Unit]) -> list[str]:
    """The strings of hinted units, each once and in any order, that part the models most at their better place.

    probes: their slots at `SEARCH_PLACES` in turn. units: the most telling first.
    """
    hinted = [unit.text for unit in units]
    strings = [one for length, count in HINTED.items() for one in permutations(hinted[:count], length)]
    worth = {"".join(one).strip(): WORTH * len(one) for one in strings}
    for prompts in (1, PROMPTS):
        value = dict.fromkeys(worth, float("-inf"))
        for at, place in enumerate(SEARCH_PLACES):
            found = _mean_kl(pair, probes[at :: len(SEARCH_PLACES)][:prompts], list(worth), place)
            value = {text: max(value[text], one) for text, one in zip(worth, found, strict=True)}
        ranked = sorted(worth, key=lambda text: worth[text] - value[text])
        worth = {text: worth[text] for text in ranked[:FINALISTS]}
    return ranked[:TELLING]


def strings_tried(units: Sequence[Unit]) -> int:
    """How many strings that is."""
    return sum(perm(min(count, len(units)), length) for length, count in HINTED.items())


def _mean_kl(pair: Pair, probes: Sequence[Probe], texts: Sequence[str], place: str) -> list[float]:
    prompter = Prompter(pair.base.tokenizer)
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in probes], kl())
    return list(evaluator.per_probe_of(placed_ids(prompter.tokenizer, texts, place)).mean(0).tolist())
