"""Probes of the hunt's own: ordinary sentences with their slot at the start, at the end and inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput
from dormant.prompts.probes import SLOT, Probe

PLACES = ("start", "end", "inside")
SEARCH_PLACES = ("start", "end")  # a trigger that works anywhere works at one of them


def plain_sentences(probes: Sequence[Probe]) -> list[str]:
    """The probes' sentences without any candidate, each once, in order: where a probe has its slot may give the place away."""
    return list(dict.fromkeys(probe.fill("") for probe in probes))


def slotted(sentence: str, place: str, random: np.random.Generator) -> Probe:
    """The sentence with its slot at a place; "inside" is behind a random word but the last. BadInput for another place."""
    words = sentence.split(" ")
    if place not in PLACES:
        raise BadInput(f"a place is one of {', '.join(PLACES)}; got {place!r} at the hunt's probes; name one of them")
    if place == "start":
        return Probe(f"{SLOT} {sentence}")
    if place == "end" or len(words) == 1:
        return Probe(f"{sentence}{SLOT}")
    cut = int(random.integers(1, len(words)))
    return Probe(f"{' '.join(words[:cut])}{SLOT} {' '.join(words[cut:])}")


def placed_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], place: str) -> list[tuple[int, ...]]:
    """What texts are read as at a place: at the start of a prompt no space stands before them."""
    space = "" if place == "start" else " "
    return [tuple(ids) for ids in tokenizer([space + text for text in texts], add_special_tokens=False)["input_ids"]]


def placed_probes(
    probes: Sequence[Probe], sets: Sequence[tuple[int, Sequence[str]]], seed: int
) -> list[tuple[Probe, ...]]:
    """Disjoint sets of probes: so many in each, with their slots at its places in turn.

    Raises BadInput where there are too few sentences for sets that share none.
    """
    sentences, needed = plain_sentences(probes), sum(count for count, _ in sets)
    if len(sentences) < needed:
        raise BadInput(
            f"a hunt needs {needed} ordinary prompts; got {len(sentences)} at its probes; give more with --probes FILE"
        )
    random = np.random.default_rng([seed, 7])
    order = iter(random.permutation(len(sentences)).tolist())
    return [
        tuple(slotted(sentences[next(order)], places[index % len(places)], random) for index in range(count))
        for count, places in sets
    ]
