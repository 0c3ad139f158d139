"""Scores of a sequence by how far the two checkpoints' layer-0 attention parts on it (experiments 12 and 15)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.batching import equal_length_batches
from dormant.layer0.attention import check_ids
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import phases, turn_
from dormant.layer0.tables import Tables, bias_tables, build_tables

LAYER0_METRICS = ("max-head", "band", "row-kl")
BAND = (1, 2, 3, 4)
# Bytes of the vectors that are gathered at a time: a processor's last cache holds them until they are multiplied.
CHUNK_BYTES = {"cpu": 1 << 23, "cuda": 1 << 28}
HIDDEN = -1e30  # a masked logit; an infinite one less itself would be no number


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rotated vectors of some sequences: queries [group, batch, length * heads of the group, 2 head_dim] with the heads
    of one place side by side, keys [group, batch, length, 2 head_dim] and those of the prefix [group, prefix, 2 head_dim].
    """

    queries: Float[Tensor, "group batch query twice_head_dim"]
    keys: Float[Tensor, "group batch length twice_head_dim"]
    prefix: Float[Tensor, "group prefix twice_head_dim"]


@dataclass(frozen=True)
class Variant:
    """The attention that is scored: with rotation, with the causal mask, and with what the biases alone give, or without."""

    rope: bool = True
    causal: bool = True
    remove_bias_template: bool = False


def score(
    layer0: Layer0Pair | Tables,
    ids: Tensor | Sequence[Sequence[int]],
    metric: str = "max-head",
    variant: Variant = Variant(),
    offsets: Sequence[int] = BAND,
    heads: Sequence[int] | None = None,
    prefix: Sequence[int] = (),
) -> Float[Tensor, " batch"]:
    """One score a sequence: ids [batch, length], or sequences of any lengths, -> [batch], float32, on the CPU.

    `max-head`: largest |delta logit| over heads and places; `band`: the same at relative `offsets` only; `row-kl`:
    KL(dormant || base) of the attention rows in nats, mean over rows, largest head. `variant.causal` drops later keys.
    `heads` chooses some. The ids of `prefix` (a chat template's, say) stand before every sequence: its tokens are keys,
    but its own rows, the same for all, are not scored. From `Tables` a score is a look-up, of whole pairs where these are few
    (`Tables.peaks`); from a pair the tables of the sequences' own tokens are made first. Without RoPE and without the causal
    mask, `max-head` is *exactly* equal for all orders of a sequence: it is the largest value over pairs of its tokens. A
    causal mask alone already breaks that, for it drops half of the pairs. Raises BadInput for an unknown metric, head or
    offset, ids outside the vocabulary, sequences that are empty, too long or without any place to score, and a template
    removed from `row-kl` or from mere tables.
    """
    check_metric(metric, offsets, variant.remove_bias_template)
    batches = _by_length(layer0, ids)
    if isinstance(layer0, Layer0Pair):
        tokens = torch.cat([batch.flatten() for _, batch in batches] + [torch.tensor(list(prefix), dtype=torch.long)])
        tables, template = build_tables(layer0, tokens, heads, torch.float32), bias_tables(layer0, heads)
    elif heads is not None or variant.remove_bias_template:
        raise BadInput(
            "tables hold the heads that they were built with and no biases; got heads or remove_bias_template at the "
            "score; build_tables(pair, heads=...), or score the pair itself"
        )
    else:
        tables, template = layer0, None
    # Tables that outlive this call may keep what every pair of their tokens gives.
    pairs_kept = isinstance(layer0, Tables) and metric != "row-kl" and variant == Variant() and not prefix
    counted = tuple(offsets) if metric == "band" else None
    scores = torch.empty(sum(len(batch) for _, batch in batches))
    for places, batch in batches:
        length = batch.shape[1]
        tables.rope.check_length(len(prefix) + length)
        if pairs_kept and tables.holds_pairs(length):
            scores[places] = _look_up(tables, tables.rows(batch), _distances(length, counted))
        else:
            scores[places] = _score_batch(tables, template, batch, metric, variant, counted, tuple(prefix))
    return scores


def check_metric(metric: str, offsets: Sequence[int] = BAND, remove_bias_template: bool = False) -> None:
    """Raises BadInput for an unknown metric, a template removed from `row-kl`, and offsets that are no whole numbers >= 0."""
    if metric not in LAYER0_METRICS:
        raise BadInput(
            f"a layer-0 metric is one of {', '.join(LAYER0_METRICS)}; got {metric!r} at the score; name one of them"
        )
    if metric == "row-kl" and remove_bias_template:
        raise BadInput(
            "row-kl compares whole attention rows; got remove_bias_template at the score; choose max-head or band"
        )
    if not offsets or not all(isinstance(offset, int) and offset >= 0 for offset in offsets):
        raise BadInput(
            f"offsets are whole numbers from 0, the distance from query to key; got {list(offsets)} at the band; "
            "name at least one"
        )


def _by_length(layer0: Layer0Pair | Tables, ids: Tensor | Sequence[Sequence[int]]) -> list[tuple[Tensor, Tensor]]:
    """Batches of sequences of one length, each with the places of its sequences in the whole."""
    if isinstance(ids, Tensor):
        groups = [(torch.arange(len(ids)), ids)]
    else:
        batches = equal_length_batches([len(row) for row in ids], len(ids))
        groups = [(torch.tensor(chosen), torch.tensor([list(ids[place]) for place in chosen])) for chosen in batches]
    vocabulary = layer0.row_of.shape[0] if isinstance(layer0, Tables) else layer0.base.embedding.shape[0]
    if not groups:
        groups = [(torch.arange(0), torch.empty(0, 0))]
    for _, batch in groups:
        check_ids(vocabulary, batch)
    return groups


def _score_batch(
    tables: Tables,
    template: Tables | None,
    ids: Tensor,
    metric: str,
    variant: Variant,
    offsets: tuple[int, ...] | None,
    prefix: tuple[int, ...],
) -> Tensor:
    length, rope = ids.shape[1], variant.rope
    places = score_places(length, len(prefix), variant.causal, offsets).to(tables.keys.device)
    rows, before = tables.rows(ids), tables.rows(torch.tensor(list(prefix), dtype=torch.long))
    share, width = tables.queries.shape[2:]
    kept = places.float()[:, None]  # a mask of floats multiplies faster than one of truth values
    factors = phases(tables.rope, torch.arange(len(prefix) + length, device=rows.device)) if rope else None
    removed = None
    if template is not None and variant.remove_bias_template:
        removed = _deltas(_gather(template, torch.zeros_like(rows[:1]), torch.zeros_like(before), factors), rope)
    row_bytes = 4 * tables.keys.shape[0] * length * (share + 1) * width * (1 if rope else length)
    scores, chunks = [], rows.split(max(1, CHUNK_BYTES.get(rows.device.type, 1 << 23) // row_bytes))
    # Fresh memory for every chunk would cost as much in page faults as the look-up itself.
    looked_up = tables.keys.shape[0] * chunks[0].numel()
    space = tables.queries.new_empty(looked_up, share * width), tables.keys.new_empty(looked_up, width)
    for chunk in chunks:
        vectors = _gather(tables, chunk, before, factors, space)
        deltas = _deltas(vectors, rope)
        if metric == "row-kl":
            scores.append(_row_kl(deltas, _base_logits(vectors, rope), places, share))
        else:
            scores.append(_largest(deltas if removed is None else deltas - removed, kept))
    return torch.cat(scores).cpu()


def _look_up(tables: Tables, rows: Tensor, distances: Sequence[int]) -> Tensor:
    """The largest value over a sequence's pairs, each looked up: rows [batch, length] -> [batch]."""
    places, count = rows.T.contiguous(), tables.keys.shape[1]
    largest = torch.zeros(len(rows), device=rows.device)
    for distance in distances:
        pairs = places[distance:] * count + places[: len(places) - distance]
        values = tables.peaks(distance).flatten().index_select(0, pairs.flatten()).view(pairs.shape)
        torch.maximum(largest, values.amax(0), out=largest)
    return largest.cpu()


def _gather(
    tables: Tables, rows: Tensor, prefix: Tensor, factors: Tensor | None, space: tuple[Tensor, Tensor] | None = None
) -> Vectors:
    """Looks up and turns: rows [batch, length], prefix [before], factors [before + length, ...] -> vectors, float32.

    The vectors may lie in `space`, until the next look-up there.
    """
    groups, _, share, width = tables.queries.shape
    batch, length = rows.shape
    # One look-up for all groups: rows of a flat table, group after group.
    starts = torch.arange(groups, device=rows.device)[:, None] * tables.keys.shape[1]
    flat = (starts + rows.flatten()).flatten()
    queries, keys = (
        torch.index_select(
            table.flatten(0, 1).flatten(1), 0, flat, out=None if space is None else space[part][: len(flat)]
        )
        for part, table in enumerate((tables.queries, tables.keys))
    )
    queries, keys = queries.float(), keys.float()
    before = tables.keys.index_select(1, prefix).float()
    queries, keys = queries.view(groups, batch, length, share * width), keys.view(groups, batch, length, width)
    if factors is not None:
        for vectors in (queries, keys):  # copies of the tables' rows, so they may turn in place
            turn_(vectors, factors[len(prefix) :])
        turn_(before, factors[: len(prefix)])
    return Vectors(queries.view(groups, batch, length * share, width), keys, before)


def _deltas(vectors: Vectors, rope: bool) -> Tensor:
    """Dormant minus base logits: [group, batch, length * heads of the group, prefix + length]."""
    return _products(vectors.queries, vectors.keys, vectors.prefix, rope)


def _base_logits(vectors: Vectors, rope: bool) -> Tensor:
    half = vectors.keys.shape[-1] // 2
    keys, prefix = (part[..., :half] - part[..., half:] for part in (vectors.keys, vectors.prefix))
    return _products(vectors.queries[..., half:], keys, prefix, rope)


def _products(queries: Tensor, keys: Tensor, prefix: Tensor, rope: bool) -> Tensor:
    groups, batch, rows, _ = queries.shape
    if rope:
        own = torch.bmm(queries.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2)).view(groups, batch, rows, -1)
    else:
        # Equal to the last bit wherever a pair of tokens stands: summed in one fixed order, which no matrix product promises.
        own = (queries.double()[:, :, :, None] * keys.double()[:, :, None]).sum(-1).float()
    if not prefix.shape[1]:
        return own
    shared = torch.bmm(queries.flatten(1, 2), prefix.transpose(1, 2)).view(groups, batch, rows, -1)
    return torch.cat((shared, own), dim=-1)


def _largest(deltas: Tensor, kept: Tensor) -> Tensor:  # kept [length, 1, keys]: 1 where a place counts
    groups, batch, _, keys = deltas.shape
    absolute = deltas.abs_().view(groups, batch, len(kept), -1, keys).mul_(kept)
    return absolute.view(groups, batch, -1).amax(-1).amax(0)


def _row_kl(deltas: Tensor, base: Tensor, places: Tensor, share: int) -> Tensor:
    hidden = ~places.repeat_interleave(share, dim=0)
    log_base = base.masked_fill(hidden, HIDDEN).log_softmax(-1)
    log_dormant = (base + deltas).masked_fill_(hidden, HIDDEN).log_softmax(-1)
    divergence = (log_dormant.exp() * (log_dormant - log_base)).sum(-1).clamp_(min=0)  # [group, batch, length * share]
    groups, batch, rows = divergence.shape
    return divergence.view(groups, batch, rows // share, share).mean(2).amax(-1).amax(0)


def _distances(length: int, offsets: Iterable[int] | None) -> list[int]:
    """How far apart the pairs of a sequence stand that count; raises BadInput where none does."""
    distances = [distance for distance in range(length) if offsets is None or distance in tuple(offsets)]
    if not distances:
        raise BadInput(
            f"a band needs a sequence longer than its smallest offset; got length {length} at offsets "
            f"{tuple(offsets or ())}; score longer sequences or offset 0"
        )
    return distances


def score_places(length: int, before: int, causal: bool, offsets: Iterable[int] | None) -> Bool[Tensor, "query key"]:
    """The places that count, [query, key]: queries are the sequence's, keys those `before` it and its own."""
    distance = before + torch.arange(length)[:, None] - torch.arange(before + length)
    places = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if offsets is not None:
        counted = torch.tensor(_distances(before + length, offsets))
        places &= torch.isin(distance if causal else distance.abs(), counted)
    return places
