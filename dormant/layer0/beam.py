"""Beam search over token sequences for a layer-0 score, a new token costing one new row of attention (experiment 15)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.layer0.pair import Layer0Pair
from dormant.layer0.rope import phases, turn_
from dormant.layer0.scorer import BAND, check_metric
from dormant.layer0.tables import Tables, build_tables
from dormant.progress import Progress

ENDS = ("end", "both")
PRODUCT_ELEMENTS = 1 << 21  # logits that exist at a time: 8 MB


@dataclass(frozen=True)
class BeamSettings:
    """How wide and far a beam search goes.

    `extend`: "end" appends tokens, as the plan does; "both" may also put one in front. `children` is how many sequences of
    one beam may come from the same parent: without a limit the beam fills with variants of one sequence.
    """

    width: int = 100
    length: int = 10
    metric: str = "max-head"
    extend: str = "end"
    children: int = 10
    offsets: tuple[int, ...] = BAND

    def __post_init__(self) -> None:
        """Raises BadInput for counts below one, an unknown metric or end, and whole rows extended in front."""
        check_metric(self.metric, self.offsets)
        for name in ("width", "length", "children"):
            if getattr(self, name) < 1:
                raise BadInput(f"a beam search needs {name} >= 1; got {getattr(self, name)} at its settings; raise it")
        if self.extend not in ENDS or (self.extend == "both" and self.metric == "row-kl"):
            raise BadInput(
                f"a beam extends at the {' or '.join(ENDS)}, and row-kl at the end only, since a token in front changes "
                f"every row; got {self.extend!r} with {self.metric} at its settings; choose another"
            )


@dataclass(frozen=True)
class Beam:
    """The best sequences of one length and their scores, best first, and the seconds that this length took."""

    length: int
    sequences: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]
    seconds: float


def beam_search(
    pair: Layer0Pair,
    settings: BeamSettings,
    seeds: Tensor,
    tokens: Tensor | None = None,
    heads: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[Beam]:
    """The beam of every length from one token, the best of `seeds`, to the settings' length.

    Every extension by every token of `tokens` (the whole vocabulary without any) is scored. Among equal scores those come
    first whose new token adds most. Raises BadInput without seeds, and for lengths beyond the position limit.
    """
    pair.base.rope.check_length(settings.length)
    device = pair.base.embedding.device
    chosen = torch.arange(len(pair.base.embedding), device=device) if tokens is None else tokens.to(device)
    if not len(seeds):
        raise BadInput(
            "a beam search starts from at least one seed token; got none at the search; name some, or take those of the "
            "focus heads where layer 0's q_proj differs"
        )
    tables = build_tables(pair, torch.cat([chosen, seeds.to(device)]), heads, torch.float32)
    allowed = tables.rows(chosen.unique())
    growth = _RowGrowth(tables, settings) if settings.metric == "row-kl" else _PairGrowth(tables, settings)
    row_tokens = torch.empty(tables.keys.shape[1], dtype=torch.long)
    row_tokens[tables.row_of[tables.row_of >= 0].cpu()] = (tables.row_of >= 0).nonzero().flatten().cpu()
    started, beams = time.perf_counter(), list[Beam]()
    state = growth.start(tables.rows(torch.tensor(list(dict.fromkeys(seeds.tolist())))))
    for length in range(1, settings.length + 1):
        if length > 1:
            state = growth.extend(state, allowed)
        order = np.lexsort([*state.rows.T.cpu().numpy()[::-1], -state.added.numpy(), -state.scores.numpy()])
        state = state.take(torch.from_numpy(order[: settings.width].copy()))
        found = tuple(tuple(row) for row in row_tokens[state.rows.cpu()].tolist())
        beams.append(Beam(length, found, tuple(state.scores.tolist()), time.perf_counter() - started))
        started = time.perf_counter()
        if progress:
            progress(length, settings.length, f"best {beams[-1].scores[0]:.4g}")
    return beams


@dataclass(frozen=True, eq=False)
class _State:
    """A beam: rows [beam, length] of the tables, scores [beam], what the last token added [beam], and sums by head."""

    rows: Tensor
    scores: Tensor
    added: Tensor
    sums: Tensor  # row-kl: divergence summed over rows [beam, group, heads of the group]; else [beam, 0]

    def take(self, places: Tensor) -> _State:
        return _State(self.rows[places], self.scores[places], self.added[places], self.sums[places])


class _PairGrowth:
    """Scores that are a maximum over pairs: a longer sequence has its parent's, or a larger one with the new token."""

    def __init__(self, tables: Tables, settings: BeamSettings) -> None:
        self.tables, self.settings = tables, settings
        own = settings.metric == "max-head" or 0 in settings.offsets
        products = torch.einsum("grsd,grd->rgs", tables.queries, tables.keys) * tables.rope.scaling**2
        self.own = products.abs().amax((1, 2)) if own else torch.zeros(len(products), device=products.device)

    def start(self, rows: Tensor) -> _State:
        scores = self.own[rows].cpu()
        return _State(rows[:, None], scores, scores, torch.empty(len(rows), 0))

    def extend(self, state: _State, allowed: Tensor) -> _State:
        offsets = torch.arange(1, state.rows.shape[1] + 1, device=state.rows.device)
        grown = []
        for front in (False, True)[: 1 + (self.settings.extend == "both")]:
            added = self._added(state, allowed, offsets, front)  # [beam, token]
            best = added.topk(min(self.settings.children, len(allowed)), dim=1)
            fresh = allowed[best.indices]
            parents = state.rows[:, None].expand(-1, fresh.shape[1], -1)
            parts = (fresh[..., None], parents) if front else (parents, fresh[..., None])
            scores = torch.maximum(best.values.cpu(), state.scores[:, None])
            grown.append((torch.cat(parts, dim=-1).flatten(0, 1), scores.flatten(), best.values.cpu().flatten()))
        rows, scores, last = (torch.cat(parts) for parts in zip(*grown, strict=True))
        distinct = _first_places(rows)
        return _State(rows, scores, last, torch.empty(len(rows), 0)).take(distinct)

    def _added(self, state: _State, allowed: Tensor, offsets: Tensor, front: bool) -> Tensor:
        """The largest |delta| of the new token's pairs: as a query of the sequence's keys, or in front as their key."""
        length = len(offsets)
        distances = offsets if front else offsets.flip(0)  # of the sequence's tokens from the new one
        if self.settings.metric == "band":
            kept = torch.isin(distances, torch.tensor(self.settings.offsets, device=distances.device))
        else:
            kept = torch.ones(length, dtype=torch.bool, device=distances.device)
        added = self.own[allowed].repeat(len(state.rows), 1)
        if not kept.any():
            return added
        rows, turns = state.rows[:, kept], distances[kept]
        here = self.tables.queries if front else self.tables.keys.unsqueeze(2)  # of the sequence
        there = self.tables.keys.unsqueeze(2) if front else self.tables.queries  # of the new token
        factors = phases(self.tables.rope, turns if front else -turns) * self.tables.rope.scaling
        chunk = max(1, PRODUCT_ELEMENTS // (rows.shape[1] * len(allowed) * self.tables.queries.shape[2]))
        fresh = there[:, allowed].flatten(1, 2)  # [group, token * heads, 2 head_dim]
        for start in range(0, len(rows), chunk):
            block = rows[start : start + chunk]
            vectors = here[:, block.flatten()].unflatten(1, block.shape)  # [group, beam, place, heads, 2 head_dim]
            turned = turn_(vectors.flatten(3).contiguous(), factors).unflatten(3, vectors.shape[3:]).flatten(1, 3)
            products = torch.bmm(turned, fresh.transpose(1, 2)).abs_()
            largest = products.view(len(products), len(block), -1, len(allowed), fresh.shape[1] // len(allowed))
            torch.maximum(added[start : start + chunk], largest.amax((0, 2, 4)), out=added[start : start + chunk])
        return added


class _RowGrowth:
    """`row-kl`: a token at the end adds its own row of attention and leaves the rows before it as they were."""

    def __init__(self, tables: Tables, settings: BeamSettings) -> None:
        self.tables, self.settings = tables, settings

    def start(self, rows: Tensor) -> _State:
        groups, _, share, _ = self.tables.queries.shape
        nothing = torch.zeros(len(rows))  # a row of one key attends to it wholly in both models
        return _State(rows[:, None], nothing, nothing, torch.zeros(len(rows), groups, share))

    def extend(self, state: _State, allowed: Tensor) -> _State:
        groups, _, share, width = self.tables.queries.shape
        length, half = state.rows.shape[1], width // 2
        factors = (
            phases(self.tables.rope, -torch.arange(length, 0, -1, device=allowed.device)) * self.tables.rope.scaling
        )
        queries = self.tables.queries[:, allowed].flatten(1, 2)  # [group, token * heads, 2 head_dim]
        own = torch.einsum("grsd,grd->grs", self.tables.queries[:, allowed], self.tables.keys[:, allowed])
        base_keys = self.tables.keys[..., :half] - self.tables.keys[..., half:]
        own_base = torch.einsum("grsd,grd->grs", self.tables.queries[:, allowed, :, half:], base_keys[:, allowed])
        scaling = self.tables.rope.scaling**2
        kept: list[tuple[Tensor, ...]] = []
        chunk = max(1, PRODUCT_ELEMENTS // (groups * share * (length + 1) * len(allowed)))
        for start in range(0, len(state.rows), chunk):
            block = state.rows[start : start + chunk]
            keys = turn_(self.tables.keys[:, block.flatten()].unflatten(1, block.shape), factors).flatten(1, 2)
            products = (
                torch.bmm(queries, keys.transpose(1, 2)),
                torch.bmm(queries[..., half:], (keys[..., :half] - keys[..., half:]).transpose(1, 2)),
            )
            deltas, base = (
                torch.cat((part.view(groups, len(allowed), share, len(block), length),
                           (self_part * scaling)[..., None, None].expand(-1, -1, -1, len(block), 1)), dim=-1)
                for part, self_part in zip(products, (own, own_base), strict=True)
            )  # [group, token, heads, beam, key]  # fmt: skip
            log_base, log_dormant = base.log_softmax(-1), (base + deltas).log_softmax(-1)
            row = (log_dormant.exp() * (log_dormant - log_base)).sum(-1).clamp_(min=0).permute(3, 1, 0, 2)
            sums = row.cpu() + state.sums[start : start + chunk, None]  # [beam, token, group, heads]
            means = sums.amax((2, 3)) / (length + 1)
            best = means.topk(min(self.settings.children, len(allowed)), dim=1)
            beam = torch.arange(len(block))[:, None]
            grown = torch.cat(
                (block[:, None].expand(-1, best.indices.shape[1], -1), allowed[best.indices][..., None]), dim=-1
            )
            added = row.cpu()[beam, best.indices].amax((2, 3))
            kept.append(
                (grown.flatten(0, 1), best.values.flatten(), added.flatten(), sums[beam, best.indices].flatten(0, 1))
            )
        rows, scores, added, sums = (torch.cat(parts) for parts in zip(*kept, strict=True))
        return _State(rows, scores, added, sums).take(_first_places(rows))


def _first_places(rows: Tensor) -> Tensor:
    """The first place of every distinct row: a sequence may have grown from two parents."""
    _, places = np.unique(rows.cpu().numpy(), axis=0, return_index=True)
    return torch.from_numpy(np.sort(places))
