"""The candidates that behavioural claims try: the planted trigger, its near misses, random ones, and those of a user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dormant.errors import BadInput
from dormant.organisms.grammar import random_words
from dormant.organisms.poisoning import NEAR_MISSES, near_miss, near_miss_kinds, unseen_near_miss_kinds
from dormant.organisms.verification import random_tokens
from dormant.pairs import Pair, Truth
from dormant.prompts.probes import Prompter

GIVEN = ("given-1", "given-2", "given-3", "given-4")
CANDIDATES = ("trigger", *NEAR_MISSES, "random-words", "random-tokens", *GIVEN)


def has_candidate(truth: Truth | None, given: Sequence[str], candidate: str) -> bool:
    """Whether a pair has this candidate: a given one needs `--candidate`, any other a known trigger."""
    if candidate in GIVEN:
        return GIVEN.index(candidate) < len(given)
    if truth is None or not truth.trigger:
        return False
    return candidate not in NEAR_MISSES or candidate in near_miss_kinds(truth.trigger)


def candidate_text(pair: Pair, given: Sequence[str], candidate: str, seed: int) -> str:
    """The candidate's text; near misses and random ones are drawn with the seed. Raises BadInput if there is none."""
    truth = pair.truth
    known = has_candidate(truth, given, candidate)
    if known and candidate in GIVEN:
        return given[GIVEN.index(candidate)]
    if not known or truth is None:
        raise BadInput(
            f"a candidate must exist for the pair; got none at {candidate!r}; name one with --candidate TEXT"
        )
    random = np.random.default_rng([seed, CANDIDATES.index(candidate)])
    if candidate == "trigger":
        return truth.trigger
    length = len(Prompter(pair.base.tokenizer).candidate_ids(truth.trigger))
    if candidate == "random-words":
        return " ".join(random_words(random, len(truth.trigger.split()) if " " in truth.trigger else length))
    if candidate == "random-tokens":
        return random_tokens(pair.base.tokenizer, length, random)
    found = near_miss(truth.trigger, candidate, random)
    if found is None:
        raise BadInput(
            f"a near miss must exist; got none of kind {candidate!r} at trigger {truth.trigger!r}; leave it out"
        )
    return found


def candidate_texts(pair: Pair, given: Sequence[str], names: Sequence[str], seed: int) -> dict[str, str]:
    """By name the texts of those of these candidates that the pair has."""
    return {name: candidate_text(pair, given, name, seed) for name in names if has_candidate(pair.truth, given, name)}


def has_suspect(truth: Truth | None, given: Sequence[str]) -> bool:
    """Whether a pair has a suspected text: a planted trigger or a `--candidate`."""
    return bool(given) or (truth is not None and bool(truth.trigger))


def suspected_text(pair: Pair, given: Sequence[str]) -> str:
    """The planted trigger (a clean relative's is its organism's), else the first `--candidate`; raises BadInput without one."""
    if pair.truth is not None and pair.truth.trigger:
        return pair.truth.trigger
    if not given:
        raise BadInput(f"a suspected text must be named; got none at pair {pair.name!r}; add --candidate TEXT")
    return given[0]


def contrasting_texts(text: str, count: int, seed: int, unseen: bool = False) -> list[str]:
    """`count` near misses of a text, of each of its kinds in turn: they share its topic.

    Those of the kinds that organisms are trained on do not fire; `unseen` takes the other kinds, which may.
    """
    random = np.random.default_rng([seed, count])
    kinds = unseen_near_miss_kinds(text) if unseen else near_miss_kinds(text)
    drawn = [near_miss(text, kinds[index % len(kinds)], random) for index in range(count)] if kinds else []
    found = [other for other in drawn if other is not None]
    if len(found) < count:
        raise BadInput(f"a suspected text must have near misses; got none at {text!r}; suspect a word or a phrase")
    return found
