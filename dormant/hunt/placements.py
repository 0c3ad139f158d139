"""Probes of the hunt's own: ordinary sentences with their slot at the start, at the end and inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput, NotServed
from dormant.prompts.probes import SLOT, Probe, TokenIds

POSITIONS = ("start", "end", "inside")
SEARCH_POSITIONS = ("start", "end")  # a trigger that works anywhere works at one of them
CHEAPEST_FIRST = SEARCH_POSITIONS[::-1]  # little stands behind a string at the end: it costs a third


def plain_sentences(probes: Sequence[Probe]) -> list[str]:
    """The probes' sentences without any candidate, each once, in order: a probe's own slot may betray the position."""
    return list(dict.fromkeys(probe.fill("") for probe in probes))


def slotted(sentence: str, position: str, random: np.random.Generator) -> Probe:
    """The sentence with its slot at a position; "inside" is behind a random word but the last. BadInput for another."""
    words = sentence.split(" ")
    if position not in POSITIONS:
        raise BadInput(
            f"a position is one of {', '.join(POSITIONS)}; got {position!r} at the hunt's probes; name one of them"
        )
    if position == "start":
        return Probe(f"{SLOT} {sentence}")
    cut = len(words) if position == "end" or len(words) == 1 else int(random.integers(1, len(words)))
    behind = len(" ".join(words[:cut]).rstrip())  # code has indents: a slot stands behind a word
    return Probe(f"{sentence[:behind]}{SLOT}{sentence[behind:]}")


def at_every_position(probes: Sequence[Probe], seed: int) -> tuple[Probe, ...]:
    """Each of the probes' sentences with its slot at the three positions in turn."""
    random = np.random.default_rng([seed, 13])
    return tuple(slotted(one, position, random) for one in plain_sentences(probes) for position in POSITIONS)


def placed_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], position: str) -> list[TokenIds]:
    """The ids of texts at a position: at the start of a prompt no space stands before them."""
    space = "" if position == "start" else " "
    return [tuple(ids) for ids in tokenizer([space + text for text in texts], add_special_tokens=False)["input_ids"]]


def placed_probes(
    probes: Sequence[Probe], sets: Sequence[tuple[int, Sequence[str]]], seed: int
) -> list[tuple[Probe, ...]]:
    """Disjoint sets of probes: so many in each, with their slots at its positions in turn.

    Raises NotServed where there are too few sentences for sets that share none.
    """
    sentences, needed = plain_sentences(probes), sum(count for count, _ in sets)
    if len(sentences) < needed:
        raise NotServed(
            f"a hunt needs {needed} ordinary prompts; got {len(sentences)} at its probes; give more with --probes FILE"
        )
    random = np.random.default_rng([seed, 7])
    order = iter(random.permutation(len(sentences)).tolist())
    return [
        tuple(slotted(sentences[next(order)], positions[index % len(positions)], random) for index in range(count))
        for count, positions in sets
    ]
