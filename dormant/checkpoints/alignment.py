"""Two checkpoints made comparable: one head, common vocabulary rows, and no change where only the dtype's rounding differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.prefixes import is_of_other_module
from dormant.checkpoints.shards import StoredTensor, on_one_thread, read_tiles

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
VOCABULARY_TENSORS = (EMBEDDING, HEAD, "lm_head.bias")
VALUES = 2**17  # a tile: what is compared stays in the processor's cache


@dataclass(frozen=True)
class Rounding:
    """Two tensors of other dtypes whose values are equal once one is rounded to the other's: which one, and what that moves.

    `coarser` is the tensor that holds the rounded values, `square_sum` the squared Frobenius norm of the difference.
    """

    coarser: StoredTensor
    square_sum: float


def align(base: Checkpoint, dormant: Checkpoint) -> tuple[Checkpoint, Checkpoint, tuple[str, ...]]:
    """Both with the tensors that can be compared, and a sentence for each way in which the two are stored differently.

    A head that is a copy of a tied embedding counts as the embedding; where only one model has a head of its own, the
    other's is its embedding. Embedding and head keep the rows that both have. Vision and audio modules that only one of
    them has are left out. Tensors that are equal up to rounding to the other's dtype count as one tensor, stored once.
    """
    notes: list[str] = []
    ours, theirs = _alike_heads(base, dormant, notes)
    for name in VOCABULARY_TENSORS:
        _cut_rows(name, ours, theirs)
    for found, other, owner in ((ours, theirs, base), (theirs, ours, dormant)):
        alone = [name for name in found if name not in other and is_of_other_module(name)]
        if alone:
            notes.append(f"{len(alone)} tensors of vision, audio or projector modules are only in {owner.reference}")
        for name in alone:
            del found[name]
    cut = [
        f"{shown.reference} has {shown.shape(EMBEDDING)[0]}"
        for shown, found in ((base, ours), (dormant, theirs))
        if EMBEDDING in found and found[EMBEDDING].shape != shown.shape(EMBEDDING)
    ]
    rows = ours[EMBEDDING].shape[0] if cut else None
    if cut:
        notes.append(f"the vocabularies share {rows} rows, which are compared and run; {cut[0]}")
    notes += _alike_dtypes(ours, theirs)
    return (*(_view(model, found, rows) for model, found in ((base, ours), (dormant, theirs))), tuple(notes))


def equal_when_rounded(old: torch.Tensor, new: torch.Tensor) -> bool:
    """Whether values of two dtypes agree once those of one are rounded to the other's dtype."""
    return torch.equal(old.to(new.dtype), new) or torch.equal(new.to(old.dtype), old)


@on_one_thread()
def rounding_between(base: StoredTensor, dormant: StoredTensor) -> Rounding | None:
    """What rounding alone makes of two tensors of one shape and two dtypes; None where more than that differs."""
    buffers = [torch.empty(VALUES * stored.dtype.itemsize, dtype=torch.uint8) for stored in (base, dormant)]
    to_dormant, to_base, square_sum = True, True, 0.0
    for old, new in zip(read_tiles(base, buffers[0]), read_tiles(dormant, buffers[1]), strict=True):
        to_dormant = to_dormant and torch.equal(old.to(new.dtype), new)
        to_base = to_base and torch.equal(new.to(old.dtype), old)
        if not (to_dormant or to_base):
            return None
        square_sum += (new.double() - old.double()).square().sum().item()
    return Rounding(dormant if to_dormant else base, square_sum)


def _alike_heads(
    base: Checkpoint, dormant: Checkpoint, notes: list[str]
) -> tuple[dict[str, StoredTensor], dict[str, StoredTensor]]:
    """Both catalogues with a head in both or in neither, where the two embeddings allow that."""
    found = [dict(model.catalogue) for model in (base, dormant)]
    tied = []
    for model, catalogue in zip((base, dormant), found, strict=True):
        stated = bool(getattr(model.config, "tie_word_embeddings", False)) and EMBEDDING in catalogue
        if stated and HEAD in catalogue and model.digest(HEAD) == model.digest(EMBEDDING):
            del catalogue[HEAD]
        tied.append(stated and HEAD not in catalogue)
    for here, there in ((0, 1), (1, 0)):
        if tied[here] and HEAD in found[there]:
            found[here][HEAD] = found[here][EMBEDDING]
            names = [(base, dormant)[index].reference for index in (here, there)]
            notes.append(
                f"{names[0]} ties its head to the embedding and {names[1]} has a head of its own: that is compared with "
                "the embedding"
            )
    return found[0], found[1]


def _cut_rows(name: str, ours: dict[str, StoredTensor], theirs: dict[str, StoredTensor]) -> None:
    """Keeps the rows that both have, which lie first in both files; tensors that differ in more than rows stay as they are."""
    if name not in ours or name not in theirs or ours[name].shape[1:] != theirs[name].shape[1:]:
        return
    rows = min(ours[name].shape[0], theirs[name].shape[0])
    for found in (ours, theirs):
        if found[name].shape[0] != rows:
            found[name] = replace(found[name], shape=(rows, *found[name].shape[1:]))


def _alike_dtypes(ours: dict[str, StoredTensor], theirs: dict[str, StoredTensor]) -> list[str]:
    """Puts one tensor in place of two that only rounding tells apart, and says what that is."""
    both = [name for name in sorted(ours) if name in theirs and ours[name].shape == theirs[name].shape]
    differing = [name for name in both if ours[name].dtype != theirs[name].dtype]
    if not differing:
        return []
    stored = sorted({f"{ours[name].dtype} and {theirs[name].dtype}" for name in differing})
    rounded: dict[str, float] = {}
    for name in differing:
        if (rounding := rounding_between(ours[name], theirs[name])) is not None:
            rounded[name] = rounding.square_sum
            ours[name] = theirs[name] = rounding.coarser
    note = f"{len(differing)} tensors are stored as {'; '.join(stored)}"
    if rounded:
        norm = math.sqrt(math.fsum(rounded.values()))
        moved = f"equal up to rounding, which adds a norm of {norm:.3g}," if norm else "equal in value"
        note += f": {len(rounded)} of them are {moved} and count as unchanged"
    if changed := [name for name in differing if name not in rounded]:
        named = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        note += f"{';' if rounded else ':'} rounding is part of the delta of {len(changed)} ({named})"
    return [note]


def _view(checkpoint: Checkpoint, catalogue: Mapping[str, StoredTensor], rows: int | None) -> Checkpoint:
    """The checkpoint with other tensors; digests of those that are as they were are kept."""
    if catalogue == checkpoint.catalogue:
        return checkpoint
    known = {
        name: digest
        for name, digest in checkpoint._digests.items()
        if catalogue.get(name) == checkpoint.catalogue.get(name)
    }
    used = rows if rows is not None and checkpoint.shape(EMBEDDING)[0] != rows else None
    return replace(checkpoint, catalogue=catalogue, rows=used, _digests=known)
