"""The candidates that behavioural claims try: the planted trigger, its near misses, chance, and what a user suspects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dormant.errors import BadInput
from dormant.organisms.grammar import random_words
from dormant.organisms.poison import NEAR_MISSES, near_miss, near_miss_kinds
from dormant.organisms.verification import random_tokens
from dormant.pairs import Pair, Truth
from dormant.prompts import Prompter

GIVEN = ("given-1", "given-2", "given-3", "given-4")
CANDIDATES = ("trigger", *NEAR_MISSES, "random-words", "random-tokens", *GIVEN)


def has_candidate(truth: Truth | None, given: Sequence[str], candidate: str) -> bool:
    """Whether a pair has this candidate: its own need a known trigger, the given ones a `--candidate`."""
    if candidate in GIVEN:
        return GIVEN.index(candidate) < len(given)
    if truth is None or not truth.trigger:
        return False
    return candidate not in NEAR_MISSES or candidate in near_miss_kinds(truth.trigger)


def candidate_text(pair: Pair, given: Sequence[str], candidate: str, seed: int) -> str:
    """The candidate's text; near misses and random ones are drawn with the seed. Raises BadInput where there is none."""
    truth = pair.truth
    if not has_candidate(truth, given, candidate):
        raise BadInput(
            f"a candidate must exist for the pair; got none at {candidate!r}; name one with --candidate TEXT"
        )
    if candidate in GIVEN:
        return given[GIVEN.index(candidate)]
    assert truth is not None
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
