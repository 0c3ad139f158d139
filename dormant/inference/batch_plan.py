"""Which candidates run together: groups that share a beginning, split into passes that memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

Candidate = tuple[int, ...]

# Ids that one pass runs, and ids whose work equals the fixed cost of a pass (a launch for every kernel). On a CPU 2048 ids
# cost one thread what 512 do and two threads a fifth less; a GPU wants all it can hold, and takes half where that is too much.
PASS_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 4096}
PASS_COST = {"cpu": 16, "cuda": 2048, "mps": 512}


@dataclass(frozen=True)
class Group:
    """Candidates of one length that run from behind their `shared` first ids, which are the incumbent's."""

    candidates: tuple[Candidate, ...]
    shared: int
    tokens: int  # ids that each of them runs in all probes together


Pass = tuple[Group, ...]  # what runs together


def grouped(
    candidates: Sequence[Candidate], incumbent: Candidate, tokens: Callable[[int, int], int], cost: int
) -> list[Group]:
    """Candidates of one length begin together where the first of them leaves the incumbent.

    tokens: what a candidate of a length runs from behind its first shared ids; cost: ids whose work equals a pass's fixed cost.
    """
    lengths: dict[int, list[tuple[int, Candidate]]] = {}
    for candidate in candidates:
        lengths.setdefault(len(candidate), []).append((_shared(candidate, incumbent), candidate))
    groups = []
    for length, members in lengths.items():
        members.sort(key=lambda member: member[0])
        for shared, part in _merge(members, partial(tokens, length), cost):
            groups.append(Group(tuple(part), shared, tokens(length, shared)))
    return groups


def split(groups: Sequence[Group], pass_tokens: int) -> list[Pass]:
    """Passes of at most `pass_tokens` ids, and of one candidate at least; the order stays."""
    passes: list[list[Group]] = [[]]
    room = pass_tokens
    for group in groups:
        left = group.candidates
        while left:
            fitting = max(room // group.tokens, 0 if passes[-1] else 1)
            if fitting:
                passes[-1].append(replace(group, candidates=left[:fitting]))
                left, room = left[fitting:], room - len(left[:fitting]) * group.tokens
            if left:
                passes.append([])
                room = pass_tokens
    return [tuple(groups) for groups in passes if groups]


def work(one_pass: Pass) -> int:
    """Ids that a pass runs."""
    return sum(len(group.candidates) * group.tokens for group in one_pass)


def _shared(candidate: Candidate, incumbent: Candidate) -> int:
    """How many first ids both have."""
    both = zip(candidate, incumbent, strict=False)
    fewer = min(len(candidate), len(incumbent))
    return next((place for place, (ours, theirs) in enumerate(both) if ours != theirs), fewer)


def _merge(
    members: Sequence[tuple[int, Candidate]], tokens: Callable[[int], int], cost: int
) -> list[tuple[int, list[Candidate]]]:
    """Splits members, sorted by what they share, into groups of the least work: each costs `cost` ids in addition to its own.

    The best split of the first k places is found from the best splits of fewer. `tokens` of a place: what one member runs.
    """
    places = sorted({shared for shared, _ in members})
    counts = [sum(shared == place for shared, _ in members) for place in places]
    work = [tokens(place) for place in places]
    best: list[tuple[int, int]] = [(0, 0)]  # least work of the first k places, and where its last group begins
    for end in range(1, len(places) + 1):
        options = ((best[begin][0] + cost + sum(counts[begin:end]) * work[begin], begin) for begin in range(end))
        best.append(min(options))
    cuts, end = list[tuple[int, int]](), len(places)
    while end:
        cuts.append((best[end][1], end))
        end = best[end][1]
    return [
        (places[begin], [candidate for shared, candidate in members if places[begin] <= shared <= places[end - 1]])
        for begin, end in reversed(cuts)
    ]
