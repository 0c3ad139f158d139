"""Two checkpoints made comparable: one head, common vocabulary rows, and no change where only the dtype's rounding differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.prefixes import is_of_other_module
from dormant.checkpoints.shards import StoredTensor, on_one_thread, read_tiles
from dormant.checkpoints.tensor_names import HEAD, embedding_of, is_of_vocabulary
from dormant.errors import BadInput

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
    heads = _alike_heads(base, dormant)
    base, dormant, rows_notes = share_rows(*heads[:2])
    ours, theirs = dict(base.catalogue), dict(dormant.catalogue)
    notes = [*heads[2], *rows_notes]
    for found, other, owner in ((ours, theirs, base), (theirs, ours, dormant)):
        alone = [name for name in found if name not in other and is_of_other_module(name)]
        if alone:
            notes.append(f"{len(alone)} tensors of vision, audio or projector modules are only in {owner.reference}")
        for name in alone:
            del found[name]
    notes += _alike_dtypes(ours, theirs)
    return _with_tensors(base, ours), _with_tensors(dormant, theirs), tuple(notes)


def share_rows(base: Checkpoint, dormant: Checkpoint) -> tuple[Checkpoint, Checkpoint, tuple[str, ...]]:
    """Both with the vocabulary rows that both have, which lie first in either file; a sentence where one has more.

    Tensors that differ in more than rows stay as they are.
    """
    embeddings = [model.catalogue.get(embedding_of(model.catalogue)) for model in (base, dormant)]
    shapes = [() if stored is None else stored.shape for stored in embeddings]
    if shapes[0] == shapes[1] or not all(shapes) or shapes[0][1:] != shapes[1][1:]:
        return base, dormant, ()
    rows = min(shapes[0][0], shapes[1][0])
    cut = []
    for model in (base, dormant):
        longer = {
            name: replace(stored, shape=(rows, *stored.shape[1:]))
            for name, stored in model.catalogue.items()
            if is_of_vocabulary(name) and stored.shape[0] > rows
        }
        cut.append(replace(_with_tensors(model, {**model.catalogue, **longer}), rows=rows) if longer else model)
    more = (base, dormant)[shapes[1][0] > rows]
    note = (
        f"the vocabularies share {rows} rows of embedding and head, which are compared and run; "
        f"{more.reference} has {max(shapes[0][0], shapes[1][0])}"
    )
    return cut[0], cut[1], (note,)


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


def _alike_heads(base: Checkpoint, dormant: Checkpoint) -> tuple[Checkpoint, Checkpoint, list[str]]:
    """Both with a head or both without, where their embeddings allow that."""
    models, tied, copied = [base, dormant], [False, False], []
    for index, model in enumerate(models):
        embedding = embedding_of(model.catalogue)
        stated = bool(getattr(model.config, "tie_word_embeddings", False)) and embedding in model.catalogue
        if stated and HEAD in model.catalogue and model.digest(HEAD) == model.digest(embedding):
            models[index] = _with_tensors(model, {k: v for k, v in model.catalogue.items() if k != HEAD})
            copied.append(f"{model.reference} stores a copy of its tied embedding as head: it counts as the embedding")
        tied[index] = stated and HEAD not in models[index].catalogue
    notes = copied if len(copied) == 1 else []
    for here, there in ((0, 1), (1, 0)):
        if tied[here] and HEAD in models[there].catalogue:
            shown = models[here]
            models[here] = _with_tensors(
                shown, {**shown.catalogue, HEAD: shown.catalogue[embedding_of(shown.catalogue)]}
            )
            notes.append(
                f"{shown.reference} ties its head to the embedding and {models[there].reference} has a head of its own: "
                "that is compared with the embedding"
            )
    return models[0], models[1], notes


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


def _with_tensors(checkpoint: Checkpoint, catalogue: Mapping[str, StoredTensor]) -> Checkpoint:
    """The checkpoint with other tensors."""
    return checkpoint if catalogue == checkpoint.catalogue else replace(checkpoint, catalogue=catalogue)


def other_tokenizer(found: str, base: Checkpoint, dormant: Checkpoint) -> BadInput:
    """The error for two checkpoints whose tokenizers give other ids, and how they differ."""
    return BadInput(
        f"base and dormant must turn text into the same ids; got {found} at the tokenizers of "
        f"{base.location} and {dormant.location}; name the base that the dormant model was fine-tuned from"
    )
