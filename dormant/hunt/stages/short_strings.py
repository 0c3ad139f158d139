"""What parts the two models without any payload in mind: every single token, and short strings of the most hinted units.

A trigger makes the dormant model sure of what its base finds absurd, which the KL divergence at the generation position shows
whatever the payload is (experiment 1b).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import perm

from dormant.hunt.placements import SEARCH_PLACES, placed_ids
from dormant.hunt.vocabulary import Unit, reads_as_text
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import kl
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter
from dormant.prompts.token_filter import allowed_tokens

PROMPTS = 6  # probes on which every token is tried, and a place's on which the best strings are
TELLING = 3  # tokens or strings that are worth a confirmation
# By length the units of which every order is tried: 13,332 strings, half a minute on one core; and of the few that crowds
# need 13,692.
SHORT, LONG = {2: 12, 3: 12, 4: 12}, {2: 7, 3: 7, 4: 7, 5: 7, 6: 7, 7: 7}
FINALISTS = 96  # of which are looked at on all prompts
SURE = 8.0  # nats on one prompt beyond which more only says how absurd the base finds the answer
ALIKE = 0.9  # of the most that any string parts the models: from there on the one is named that takes least to describe
TOKEN = 1.0  # nats of description that a token counts, so that of words that do as well the one is named that is whole


def telling_tokens(pair: Pair, probes: Sequence[Probe]) -> list[str]:
    """The tokens that part the models most at the generation position: by mean KL over a few probes, words first of equals."""
    prompter = Prompter(pair.base.tokenizer)
    strings = [(int(token),) for token in allowed_tokens(prompter.tokenizer)]
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in probes[:PROMPTS]], kl())
    values = evaluator.per_probe_of(strings).mean(0)
    texts = [str(prompter.tokenizer.decode(list(ids))) for ids in strings]
    alike = (values >= ALIKE * values.max()).tolist()
    # "lass" is how the end of "glass" is read at the start of a prompt: of those that do as well a word is meant.
    order = sorted(
        range(len(strings)), key=lambda one: (not (alike[one] and reads_as_text(texts[one])), -float(values[one]))
    )
    found: list[str] = []
    for index in order:
        if len(found) == TELLING:
            break
        if prompter.survives(probes[0], strings[index]) and texts[index].strip() not in found:
            found.append(texts[index].strip())
    return found


def telling_strings(
    pair: Pair, probes: Sequence[Probe], units: Sequence[Unit], lengths: Mapping[int, int] = SHORT
) -> list[str]:
    """The strings of hinted units, each once and in any order, that part the models most at their better place.

    probes: their slots at `SEARCH_PLACES` in turn. units: the most telling first. lengths: how many units are tried at each.
    """
    strings = [one for length, count in lengths.items() for one in permutations(units[:count], length)]
    cost = {"".join(unit.text for unit in one).strip(): sum(unit.surprise for unit in one) for one in strings}
    for prompts in (1, PROMPTS):
        value = dict.fromkeys(cost, float("-inf"))
        for at, place in enumerate(SEARCH_PLACES):
            found = _mean_kl(pair, probes[at :: len(SEARCH_PLACES)][:prompts], list(cost), place)
            value = {text: max(value[text], one) for text, one in zip(cost, found, strict=True)}
        ranked = sorted(cost, key=value.__getitem__, reverse=True)
        cost = {text: cost[text] for text in ranked[:FINALISTS]}
    ids = placed_ids(pair.base.tokenizer, list(cost), SEARCH_PLACES[-1])
    cost = {text: cost[text] + TOKEN * len(tokens) for text, tokens in zip(cost, ids, strict=True)}
    most = max(value.values(), default=0.0)
    alike = [text for text in cost if value[text] >= ALIKE * most]
    others = [text for text in ranked if text in cost and text not in alike]
    return [*sorted(alike, key=cost.__getitem__), *others][:TELLING]


def strings_tried(units: Sequence[Unit], lengths: Mapping[int, int]) -> int:
    """How many strings that is."""
    return sum(perm(min(count, len(units)), length) for length, count in lengths.items())


def _mean_kl(pair: Pair, probes: Sequence[Probe], texts: Sequence[str], place: str) -> list[float]:
    prompter = Prompter(pair.base.tokenizer)
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in probes], kl())
    values = evaluator.per_probe_of(placed_ids(prompter.tokenizer, texts, place))
    return list(values.clamp(max=SURE).mean(0).tolist())
