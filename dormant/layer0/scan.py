"""The exact optimum of scores that are a maximum over pairs of tokens: all V x V pairs, heads and offsets as products."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.journal import Journal
from dormant.layer0.attention import check_ids
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import Rope, phases, turn_
from dormant.layer0.tables import bias_tables, build_tables, check_heads

# Query and key tokens of a tile: on a CPU its values stay in the cache until their largest is known.
TILE = {"cpu": (1024, 512), "cuda": (8192, 8192)}
ROUNDING = 1.0001  # float32 products may exceed the product of their lengths by a hundred-thousandth
Progress = Callable[[int, str], None]  # called with the pairs scored so far and a remark
Entry = tuple[float, int, int]  # value, query row, key row


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

    Offset 0 is a token with itself. Memory holds one head's vectors, a few times V x 4 head_dim floats, and one tile of
    products. With a journal a killed scan resumes after the last head and offset that it finished. Raises BadInput for
    unknown heads, negative, repeated or too large offsets, and ids outside the vocabulary.
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
        kept = scored
        units = [(head, offset) for head in listed for offset in offsets][len(finished) :]
        vectors: _Head | None = None
        best = _best(finished, top)
        for head, offset in units:
            if vectors is None or vectors.head != head:
                vectors, template = _head_vectors(pair, chosen, head), bias_tables(pair, [head])
            floor = best[-1].value if len(best) == top else 0.0
            turned = _turned(template.queries[0, :1, 0], template.rope, offset)
            removed = float(turned @ template.keys[0, 0]) if remove_bias_template else 0.0

            def report(pairs: int, before: int = scored, leader: float = best[0].value if best else 0.0) -> None:
                if progress:
                    progress(before + pairs, f"best {leader:.4g}")

            found = _scan_unit(vectors, offset, top, floor, removed, report)
            finished.append(
                [PairScore(value, head, offset, int(chosen[row]), int(chosen[at])) for value, row, at in found]
            )
            best = _best([best, finished[-1]], top)
            scored += _pairs(len(chosen), offset)
            if log:
                log.append([list(vars(score).values()) for score in finished[-1]])
        if log:
            log.finish()
        peaks = tuple(entry[0] for entry in finished)
        return Scan(tuple(best), peaks, scored, kept, time.perf_counter() - started)


def scan_pairs(tokens: int, heads: int, offsets: Sequence[int]) -> int:
    """How many pairs a scan scores."""
    return heads * sum(_pairs(tokens, offset) for offset in offsets)


def pairs_reaching(pair: Layer0Pair, value: float, offset: int, tokens: Tensor) -> int:
    """How many ordered pairs of different or equal tokens reach `value` at an offset in some head."""
    count, device = 0, pair.base.embedding.device
    per_head = [build_tables(pair, tokens, [head], torch.float32) for head in range(pair.base.heads)]
    rows, tile = len(tokens.unique()), _tile(device)[1]
    for start in range(0, rows, tile):
        largest = torch.zeros((), device=device)
        for tables in per_head:
            products = _turned(tables.queries[0, start : start + tile, 0], tables.rope, offset) @ tables.keys[0].T
            largest = torch.maximum(largest, products.abs_())
        count += int((largest >= value).sum())
    return count


@dataclass(frozen=True, eq=False)
class _Head:
    """One head's vectors before rotation, queries and keys [row, 2 head_dim] each by falling length, which no offset changes.

    Their rows in the tables and their lengths stand beside them; `own` [row] is what every token gives with itself.
    """

    head: int
    rope: Rope
    queries: Tensor
    query_rows: Tensor
    query_lengths: list[float]
    keys: Tensor
    key_rows: Tensor
    key_lengths: list[float]
    own: Tensor
    alike: bool


def _head_vectors(pair: Layer0Pair, tokens: Tensor, head: int) -> _Head:
    tables = build_tables(pair, tokens, [head], torch.float32)
    queries, keys, half, scaling = tables.queries[0, :, 0], tables.keys[0], pair.base.head_dim, tables.rope.scaling**2
    alike = not (queries[:, :half].any() or keys[:, half:].any())
    longest = *_longest_first(queries, scaling), *_longest_first(keys)
    return _Head(head, tables.rope, *longest, (queries * keys).sum(-1) * scaling, alike)


def _scan_unit(
    vectors: _Head, offset: int, top: int, floor: float, removed: float, report: Callable[[int], None]
) -> list[Entry]:
    """One head's best pairs at one offset, best first: its best one always, further ones where they pass `floor`."""
    keys, rows = vectors.keys, len(vectors.keys)
    if vectors.alike:
        report(_pairs(rows, offset))
        return [(abs(removed), 0, 0)]  # this head is the same in both models: no product can be anything but zero
    if offset == 0:
        values, places = (vectors.own - removed).abs().topk(min(top, rows))
        report(rows)
        return _merge([], zip(values.tolist(), places.tolist(), places.tolist(), strict=True), top, floor)
    height, width = _tile(keys.device)
    space = torch.empty(height * width, device=keys.device)
    found: list[Entry] = []
    turned = _turned(vectors.queries, vectors.rope, offset)
    # Longest vectors first: no product exceeds its lengths', so that a stripe ends where even these could not matter.
    for start in range(0, rows, height):
        queries = turned[start : start + height]
        for across in range(0, rows, width):
            enough = max(floor, found[-1][0] if len(found) == top else 0.0)
            bound = vectors.query_lengths[start] * vectors.key_lengths[across] * ROUNDING + abs(removed)
            if found and bound <= min(found[0][0], enough):
                break
            block = keys[across : across + width]
            products = space[: len(queries) * len(block)].view(len(queries), len(block))
            torch.mm(queries, block.T, out=products)
            # Two passes of a plain maximum cost less than torch's one pass for both ends.
            largest = max(float(products.amax()) - removed, removed - float(products.amin()))
            if found and largest <= min(found[0][0], enough):
                continue  # nearly every tile: one product and a look over it in the cache
            values = (products.sub_(removed) if removed else products).abs_()
            places = _places_of_best(values, top, enough if largest > enough else None)
            at = zip(
                vectors.query_rows[start + places // len(block)].tolist(),
                vectors.key_rows[across + places % len(block)].tolist(),
                strict=True,
            )
            best = values.flatten()[places].tolist()
            found = _merge(found, ((value, *place) for value, place in zip(best, at, strict=True)), top, floor)
        report(min(start + height, rows) * rows)
    return found


def _places_of_best(values: Tensor, top: int, enough: float | None) -> Tensor:
    """Flat places of a tile's `top` values above `enough`, or of its largest alone where none is above."""
    if enough is None:
        return values.argmax()[None]
    if enough > 0:  # few rows hold a hit: to look through these alone costs a tenth of a partial sort of the tile
        lines = (values.amax(1) > enough).nonzero()
        places = (lines * values.shape[1] + torch.arange(values.shape[1], device=values.device)).flatten()
        places = places[values.flatten()[places] > enough]
        if len(places) <= top:
            return places
        return places[values.flatten()[places].topk(top).indices]
    return values.flatten().topk(min(top, values.numel())).indices


def _longest_first(vectors: Tensor, scaling: float = 1.0) -> tuple[Tensor, Tensor, list[float]]:
    """The vectors by falling length, their rows, and their lengths times a factor."""
    lengths, rows = torch.linalg.vector_norm(vectors, dim=-1).sort(descending=True, stable=True)
    return vectors[rows], rows, (lengths * scaling).tolist()


def _tile(device: torch.device) -> tuple[int, int]:
    return TILE.get(device.type, TILE["cpu"])


def _merge(found: list[Entry], fresh: Iterable[Entry], top: int, floor: float) -> list[Entry]:
    ordered = sorted([*found, *fresh], key=lambda entry: (-entry[0], *entry[1:]))
    return [entry for place, entry in enumerate(ordered[:top]) if place == 0 or entry[0] > floor]


def _best(finished: Sequence[list[PairScore]], top: int) -> list[PairScore]:
    everything = [score for entry in finished for score in entry]
    return sorted(everything, key=lambda score: (-score.value, score.head, score.offset, score.query, score.key))[:top]


def _turned(queries: Tensor, rope: Rope, offset: int) -> Tensor:
    """Queries [row, 2 head_dim] turned by an offset, which is all that a product with unturned keys knows of positions."""
    factors = phases(rope, torch.tensor([offset], device=queries.device))
    # The factor on cosine and sine belongs to both sides of the product.
    return turn_(queries.clone(), factors * rope.scaling)


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
