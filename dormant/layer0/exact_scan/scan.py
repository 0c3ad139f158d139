"""The exact optimum of scores that are a maximum over pairs of tokens: all V x V pairs, heads and offsets as products."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dormant.errors import BadInput, NotServed
from dormant.journal import Journal
from dormant.layer0.attention import check_ids
from dormant.layer0.exact_scan.blocks import (
    WORTH_ASKING,
    HeadAtOffset,
    Seen,
    best_pairs,
    own_pairs,
    units_at_a_time,
    workspace,
)
from dormant.layer0.exact_scan.heads import Head, PairAt, head_vectors, heads_at_a_time
from dormant.layer0.exact_scan.offset_order import Neighbours
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import phases, turn_
from dormant.layer0.tables import bias_tables, check_heads
from dormant.progress import Progress


@dataclass(frozen=True)
class PairScore:
    """|delta logit| of a `query` token that stands `offset` places after a `key` token, in one head."""

    value: float
    head: int
    offset: int
    query: int
    key: int


@dataclass(frozen=True)
class Scan:
    """The best pairs of all, best first, and the best one of every head and offset.

    Pairs scored, those of them that a journal had kept from an earlier run, and the seconds that the others took.
    """

    top: tuple[PairScore, ...]
    peaks: tuple[PairScore, ...]
    pairs: int
    kept: int
    seconds: float

    def optimum(self, length: int, smallest: int = 0) -> PairScore:
        """The best pair that a sequence of `length` tokens has room for, at offsets of at least `smallest`.

        It is the exact optimum of `max-head` over all sequences of at most `length` tokens: one that holds the pair
        reaches it and none passes it. Raises BadInput where the scan left out such an offset.
        """
        missing = sorted(set(range(smallest, length)) - {peak.offset for peak in self.peaks})
        if missing or smallest >= length:
            raise BadInput(
                f"the optimum of {length} tokens needs all offsets from {smallest} to {length - 1}; got none for "
                f"{missing} at the scan; scan them too"
            )
        return max(
            (peak for peak in self.peaks if smallest <= peak.offset < length),
            key=lambda peak: peak.value,
        )

    def distinct(self, count: int) -> list[PairScore]:
        """The best `count` pairs of tokens, each at its best head and offset; those that score nothing are left out."""
        best: dict[tuple[int, int], PairScore] = {}
        for found in self.top:
            if found.value > 0:
                best.setdefault((found.query, found.key), found)
        return list(best.values())[:count]

    def share_of(self, tokens: Sequence[int], count: int = 20) -> float:
        """The share of these tokens among the queries and keys of the best `count` pairs; 0 where no pair scores."""
        named = [token in tokens for found in self.distinct(count) for token in (found.query, found.key)]
        return sum(named) / max(len(named), 1)


@dataclass(frozen=True)
class ScanPlan:
    """The offsets and heads (all without any) to scan, how many of the best pairs to keep, and whether to take off what
    the biases alone give.
    """

    offsets: Sequence[int]
    heads: Sequence[int] | None = None
    top: int = 100
    remove_bias_template: bool = False


def scan(
    pair: Layer0Pair,
    plan: ScanPlan,
    tokens: Tensor | None = None,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> Scan:
    """The largest |delta logit| over all ordered pairs of `tokens` (the whole vocabulary), and the plan's heads and offsets.

    Offset 0 is a token with itself. Memory holds one tile of products, the vectors of as many heads as fit 64 MB (on a GPU
    1 GB), of one at least (a few times V x 4 head_dim floats), and what is known of their products, at most 64 groups x V
    floats a few times. With a journal a killed scan resumes after the last head and offset that it finished. Raises BadInput
    for unknown heads, negative, repeated or too large offsets, and ids outside the vocabulary.
    """
    vocabulary, device = pair.base.embedding.shape[0], pair.base.embedding.device
    chosen = torch.arange(vocabulary, device=device) if tokens is None else tokens.to(device).unique()
    check_ids(vocabulary, chosen[None])
    offsets, top = plan.offsets, plan.top
    listed = list(range(pair.base.heads)) if plan.heads is None else list(plan.heads)
    check_heads(pair.base, listed)
    _check_offsets(pair, offsets)
    work = {"heads": listed, "offsets": list(offsets), "top": top, "without template": plan.remove_bias_template}
    log = Journal(journal, {"scan": _digest(pair, chosen), **work}) if journal is not None else None
    total = scan_pairs(len(chosen), len(listed), offsets)
    finished: list[list[PairScore]] = [[PairScore(*found) for found in entry] for entry in (log.entries if log else [])]
    with closing(log) if log else nullcontext():
        record = _Record(len(chosen), top, finished, log)
        kept, started, space = record.scored, time.perf_counter(), workspace(pair, len(chosen), device)

        def tell(pairs: int) -> None:
            if progress:
                progress(pairs, total, f"best {record.best[0].value if record.best else 0.0:.4g}")

        def look(units: Sequence[HeadAtOffset], beside: Sequence[Seen | None]) -> list[Seen]:
            before = record.scored
            seen = best_pairs(units, beside, top, record.floor, space, lambda pairs: tell(before + pairs))
            record.add(units, [each.places for each in seen])
            return seen

        several = heads_at_a_time(pair, len(chosen), device)
        neighbours = Neighbours(units_at_a_time(pair, len(chosen)), radius=int(len(chosen) >= WORTH_ASKING))
        waiting = [head for head in listed if record.left(head, offsets)]
        for start in range(0, len(waiting), several):
            vectors = head_vectors(pair, chosen, waiting[start : start + several])
            units = [_units(pair, head, record.left(head.head, offsets), plan.remove_bias_template) for head in vectors]
            plain = [unit for of_head in units for unit in of_head if _needs_no_product(unit)]
            record.add(plain, [own_pairs(unit, top) for unit in plain])
            tell(record.scored)
            neighbours.walk([[unit for unit in of_head if not _needs_no_product(unit)] for of_head in units], look)
        if log:
            log.finish()
        order = {(head, offset): at for at, (head, offset) in enumerate(itertools.product(listed, offsets))}
        peaks = sorted((entry[0] for entry in record.finished), key=lambda peak: order[peak.head, peak.offset])
        return Scan(tuple(record.best), tuple(peaks), record.scored, kept, time.perf_counter() - started)


def scan_pairs(tokens: int, heads: int, offsets: Sequence[int]) -> int:
    """How many pairs a scan scores."""
    return heads * sum(_pairs(tokens, offset) for offset in offsets)


def best_of(scores: Sequence[PairScore], count: int) -> list[PairScore]:
    """The best of some scores, in one order also where values are equal."""
    return sorted(scores, key=lambda score: (-score.value, score.head, score.offset, score.query, score.key))[:count]


@dataclass
class _Record:
    """What a scan has found: an entry of pairs for every head and offset that is finished, kept in the journal too."""

    tokens: int
    top: int
    finished: list[list[PairScore]]
    log: Journal | None

    def __post_init__(self) -> None:
        """The best pairs of all so far, and the pairs scored."""
        self.best = self._best(self.finished)
        self.scored = sum(_pairs(self.tokens, entry[0].offset) for entry in self.finished)

    @property
    def floor(self) -> float:
        """What a pair must exceed to be among the best."""
        return self.best[-1].value if len(self.best) == self.top else 0.0

    def left(self, head: int, offsets: Sequence[int]) -> list[int]:
        """The offsets of a head that are not finished, the smallest first."""
        done = {entry[0].offset for entry in self.finished if entry[0].head == head}
        return sorted(set(offsets) - done)

    def add(self, units: Sequence[HeadAtOffset], places: Sequence[list[PairAt]]) -> None:
        """Keeps the pairs found in units."""
        found = [
            [PairScore(value, unit.head.head, unit.offset, query, key) for value, query, key in pairs]
            for unit, pairs in zip(units, places, strict=True)
        ]
        for entry in found:
            self.scored += _pairs(self.tokens, entry[0].offset)
            if self.log:
                self.log.append([list(vars(score).values()) for score in entry])
        self.finished += found
        self.best = self._best([self.best, *found])

    def _best(self, entries: Sequence[list[PairScore]]) -> list[PairScore]:
        return best_of([score for entry in entries for score in entry], self.top)


def _units(pair: Layer0Pair, head: Head, offsets: Sequence[int], without_template: bool) -> list[HeadAtOffset]:
    factors = phases(pair.base.rope, torch.tensor(offsets, device=head.keys.device)) * pair.base.rope.scaling
    removed = [0.0] * len(offsets)
    if without_template:
        template = bias_tables(pair, [head.head])
        turned = turn_(template.queries[0, :1, 0].repeat(len(offsets), 1), factors)
        removed = (turned @ template.keys[0, 0]).tolist()
    return [HeadAtOffset(head, *each) for each in zip(offsets, factors, removed, strict=True)]


def _needs_no_product(unit: HeadAtOffset) -> bool:
    """Whether the head is alike in both models, so that no product can be anything but zero, or every token is with itself."""
    return unit.head.alike or unit.offset == 0


def _pairs(tokens: int, offset: int) -> int:
    return tokens**2 if offset else tokens


def _check_offsets(pair: Layer0Pair, offsets: Sequence[int]) -> None:
    limit, got = pair.base.rope.limit, "none"
    if offsets and len(set(offsets)) == len(offsets) and min(offsets) >= 0 and max(offsets) < limit:
        return
    if offsets:
        got = f"{len(offsets)} from {min(offsets)} to {max(offsets)}, {len(set(offsets))} of them different,"
    beyond = bool(offsets) and max(offsets) >= limit  # a short context or window of the model
    raise (NotServed if beyond else BadInput)(
        f"offsets are different numbers from 0 to {limit - 1}, the distance from query to key; got {got} at the scan; "
        "name at least one of these, none twice"
    )


def _digest(pair: Layer0Pair, tokens: Tensor) -> str:
    """What a scan's result depends on: everything that layer 0 holds in both models, and the tokens."""
    hasher = hashlib.sha256()
    for layer0 in (pair.base, pair.dormant):
        for name, value in (vars(layer0) | {"rope": None} | vars(layer0.rope)).items():
            hasher.update(name.encode())
            if isinstance(value, Tensor):
                hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            else:
                hasher.update(repr(value).encode())
    hasher.update(tokens.cpu().numpy().tobytes())
    return hasher.hexdigest()[:16]
