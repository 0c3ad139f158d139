"""The exact optimum of scores that are a maximum over pairs of tokens: all V x V pairs, heads and offsets as products."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.journal import Journal
from dormant.layer0.attention import check_ids
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.products import Workspace, best_pairs, units_at_a_time, workspace
from dormant.layer0.rope import phases, turn_
from dormant.layer0.tables import bias_tables, check_heads
from dormant.layer0.vectors import Head, Place, head_vectors, heads_at_a_time, own_pairs

Progress = Callable[[int, str], None]  # called with the pairs scored so far and a remark


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


def scan(
    pair: Layer0Pair,
    offsets: Sequence[int],
    tokens: Tensor | None = None,
    heads: Sequence[int] | None = None,
    top: int = 100,
    remove_bias_template: bool = False,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> Scan:
    """The largest |delta logit| over all ordered pairs of `tokens` (the whole vocabulary), `heads` and `offsets`.

    Offset 0 is a token with itself. Memory holds one tile of products and the vectors of as many heads as fit 64 MB (on a
    GPU 1 GB), of one at least (a few times V x 4 head_dim floats). With a journal a killed scan resumes after the last head
    and offset that it finished. Raises BadInput for unknown heads, negative, repeated or too large offsets, and ids outside
    the vocabulary.
    """
    vocabulary, device = pair.base.embedding.shape[0], pair.base.embedding.device
    chosen = torch.arange(vocabulary, device=device) if tokens is None else tokens.to(device).unique()
    check_ids(vocabulary, chosen[None])
    listed = list(range(pair.base.heads)) if heads is None else list(heads)
    check_heads(pair.base, listed)
    _check_offsets(pair, offsets)
    work = {"heads": listed, "offsets": list(offsets), "top": top, "without template": remove_bias_template}
    log = Journal(journal, {"scan": _digest(pair, chosen), **work}) if journal is not None else None
    finished: list[list[PairScore]] = [[PairScore(*found) for found in entry] for entry in (log.entries if log else [])]
    with closing(log) if log else nullcontext():
        started, scored = time.perf_counter(), sum(_pairs(len(chosen), entry[0].offset) for entry in finished)
        kept, best, space = scored, _best(finished, top), workspace(pair, len(chosen), device)
        factors = phases(pair.base.rope, torch.tensor(list(offsets), device=device)) * pair.base.rope.scaling
        done = {(entry[0].head, entry[0].offset) for entry in finished}
        left = [(head, at) for head in listed for at, offset in enumerate(offsets) if (head, offset) not in done]
        for units, places in _work(pair, chosen, left, offsets):
            removed = _templates(pair, units, factors[places]) if remove_bias_template else [0.0] * len(places)

            def report(pairs: int, before: int = scored, leader: float = best[0].value if best else 0.0) -> None:
                if progress:
                    progress(before + pairs, f"best {leader:.4g}")

            floor = best[-1].value if len(best) == top else 0.0
            named = [offsets[at] for at in places]
            found = _best_of_units(units, named, factors[places], removed, top, floor, space, report)
            for head, offset, pairs in zip(units, named, found, strict=True):
                finished.append([PairScore(value, head.head, offset, query, key) for value, query, key in pairs])
                scored += _pairs(len(chosen), offset)
                if log:
                    log.append([list(vars(score).values()) for score in finished[-1]])
            best = _best([best, *finished[-len(places) :]], top)
        if log:
            log.finish()
        order = {(head, offset): at for at, (head, offset) in enumerate(itertools.product(listed, offsets))}
        peaks = sorted((entry[0] for entry in finished), key=lambda peak: order[peak.head, peak.offset])
        return Scan(tuple(best), tuple(peaks), scored, kept, time.perf_counter() - started)


def scan_pairs(tokens: int, heads: int, offsets: Sequence[int]) -> int:
    """How many pairs a scan scores."""
    return heads * sum(_pairs(tokens, offset) for offset in offsets)


def _work(
    pair: Layer0Pair, tokens: Tensor, left: Sequence[tuple[int, int]], offsets: Sequence[int]
) -> Iterator[tuple[list[Head], list[int]]]:
    """Units that are looked through together, a head and the place of an offset each; such as need no product stand alone."""
    size, several = (most(pair, len(tokens), tokens.device) for most in (units_at_a_time, heads_at_a_time))
    waiting = list(dict.fromkeys(head for head, _ in left))
    for start in range(0, len(waiting), several):
        heads = head_vectors(pair, tokens, waiting[start : start + several])
        units = [(head, at) for head in heads for of, at in left if of == head.head]
        plain = [unit for unit in units if _needs_no_product(unit[0], offsets[unit[1]])]
        others = [unit for unit in units if not _needs_no_product(unit[0], offsets[unit[1]])]
        yield from (([head], [at]) for head, at in plain)
        for first in range(0, len(others), size):
            together = others[first : first + size]
            yield [head for head, _ in together], [at for _, at in together]


def _needs_no_product(head: Head, offset: int) -> bool:
    """Whether a head is alike in both models, so that no product can be anything but zero, or every token is with itself."""
    return head.alike or offset == 0


def _templates(pair: Layer0Pair, heads: Sequence[Head], factors: Tensor) -> list[float]:
    """What the biases alone give in units, which is taken off every pair: heads [unit], factors [unit, head_dim / 2]."""
    found, at = list[Tensor](), 0
    for number, alike in itertools.groupby(head.head for head in heads):
        template, rows = bias_tables(pair, [number]), factors[at : at + len(list(alike))]
        found.append(turn_(template.queries[0, :1, 0].repeat(len(rows), 1), rows) @ template.keys[0, 0])
        at += len(rows)
    return list(torch.cat(found).tolist())


def _best_of_units(
    heads: Sequence[Head],
    offsets: Sequence[int],
    factors: Tensor,
    removed: Sequence[float],
    top: int,
    floor: float,
    space: Workspace,
    report: Callable[[int], None],
) -> list[list[Place]]:
    head = heads[0]
    if not _needs_no_product(head, offsets[0]):
        return best_pairs(heads, factors, removed, top, floor, space, report)
    token = int(head.tokens[0])
    found = [(abs(removed[0]), token, token)] if head.alike else own_pairs(head, removed[0], top)
    report(_pairs(len(head.tokens), offsets[0]))
    return [found]


def _best(finished: Sequence[list[PairScore]], top: int) -> list[PairScore]:
    everything = [score for entry in finished for score in entry]
    return sorted(everything, key=lambda score: (-score.value, score.head, score.offset, score.query, score.key))[:top]


def _pairs(tokens: int, offset: int) -> int:
    return tokens**2 if offset else tokens


def _check_offsets(pair: Layer0Pair, offsets: Sequence[int]) -> None:
    limit, got = pair.base.rope.limit, "none"
    if offsets and len(set(offsets)) == len(offsets) and min(offsets) >= 0 and max(offsets) < limit:
        return
    if offsets:
        got = f"{len(offsets)} from {min(offsets)} to {max(offsets)}, {len(set(offsets))} of them different,"
    raise BadInput(
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
