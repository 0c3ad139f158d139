"""How candidates come about: random ones, and changes of an incumbent that a ranking of tokens proposes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dormant.errors import BadInput

Candidate = tuple[int, ...]
Admit = Callable[[Candidate], bool]  # whether a candidate may be tried, say whether it survives in its probes
Ranking = npt.NDArray[np.int64]  # [place, rank]: the tokens to put there

PATIENCE = 2_000  # draws in a row without anything new, after which there is nothing new


def random_candidates(allowed: Ranking, length: int, random: np.random.Generator) -> Iterator[Candidate]:
    """Random candidates without end, repetitions among them: allowed [token]."""
    while True:
        yield from map(tuple, random.choice(allowed, size=(64, length)).tolist())


def changed_candidates(
    incumbent: Candidate,
    ranking: Ranking,
    random: np.random.Generator,
    swaps: int = 1,
    resize: float = 0.0,
    longest: int = 0,
) -> Iterator[Candidate]:
    """Changes of an incumbent: single swaps drawn without replacement, and, where asked for, larger ones.

    swaps: the most tokens that one change replaces, each number as likely. resize: the share of changes that insert or
    delete one token, between one token and `longest`. Ends with the single swaps where they are all that is asked for.
    """
    places, tokens = ranking.shape
    singles = iter(random.permutation(places * tokens).tolist())
    while True:
        if random.random() < resize:
            yield from _resized(incumbent, ranking, random, longest)
        elif (count := int(random.integers(1, min(swaps, places) + 1))) > 1:
            chosen = random.choice(places, size=count, replace=False)
            candidate = list(incumbent)
            for place in chosen.tolist():
                candidate[place] = int(ranking[place, random.integers(tokens)])
            yield tuple(candidate)
        elif (single := next(singles, None)) is not None:
            place, rank = divmod(single, tokens)
            yield (*incumbent[:place], int(ranking[place, rank]), *incumbent[place + 1 :])
        elif swaps == 1 and not resize:
            return


def _resized(incumbent: Candidate, ranking: Ranking, random: np.random.Generator, longest: int) -> Iterator[Candidate]:
    if len(incumbent) > 1 and (len(incumbent) >= longest or random.random() < 0.5):
        place = int(random.integers(len(incumbent)))
        yield (*incumbent[:place], *incumbent[place + 1 :])
    elif len(incumbent) < longest:
        place = int(random.integers(len(incumbent) + 1))
        row = ranking[min(place, len(incumbent) - 1)]
        yield (*incumbent[:place], int(row[random.integers(len(row))]), *incumbent[place:])


def take_new(source: Iterator[Candidate], count: int, seen: set[Candidate], admit: Admit | None) -> list[Candidate]:
    """Up to `count` admitted candidates that were not seen before; all that were looked at are marked as seen."""
    taken: list[Candidate] = []
    refused = 0
    for candidate in source if count > 0 else ():
        if candidate in seen or (admit is not None and not admit(candidate)):
            refused += 1
        else:
            taken.append(candidate)
            refused = 0
        seen.add(candidate)
        if len(taken) == count or refused == PATIENCE:
            break
    return taken


def steepest_tokens(gradient: Tensor, allowed: Ranking, top: int) -> Ranking:
    """The steepest allowed tokens of every place: gradient [length, vocabulary] -> [length, top]."""
    slopes = gradient[:, allowed]
    return allowed[slopes.topk(min(top, len(allowed)), dim=1).indices.numpy()]


def distinct(allowed: Tensor) -> Ranking:
    """The allowed ids, each once; raises BadInput where there is none."""
    if allowed.numel() == 0:
        raise BadInput("a search needs allowed tokens; got none at the token filter; use allowed_tokens(tokenizer)")
    found: Ranking = allowed.unique().numpy().astype(np.int64)
    return found
