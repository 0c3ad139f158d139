"""Which of several checkpoints is the parent: ranked by a few small tensors, confirmed on a part of every tensor."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dormant.checkpoints.alignment import equal_when_rounded, share_rows
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.shards import read_rows
from dormant.checkpoints.tensor_names import is_embedding, layer_of
from dormant.errors import BadInput
from dormant.progress import Progress
from dormant.weights.tensor_matching import settings_note, survey_checkpoint

# Median relative delta of matrices up to which a base counts as the parent, as the premise `base-is-parent` has it: an
# adapter moves matrices by 0.010-0.016 of their norm, and the closest matrix of the published wrong base lay at 0.436.
PARENT_AT_MOST = 0.2
ROWS_READ = 64  # of a tensor, evenly spread: half a million values give a relative norm to 0.2 %
# Candidates of the first round that the second looks at, and all that are about as near: siblings that share every small
# tensor with the parent tie with it there.
CONFIRMED = 3
UNRELATED = 2.0  # relative deltas are cut here: independent tensors of one norm lie at 1.41
RELATED = 0.7  # half of that distance: nearer candidates have an ancestor in common with the dormant model
# Of the squared distance between dormant model and candidate, what the candidate moved by itself: 0 for the parent, a half
# for a sibling that moved as far as the dormant model.
OWN_AT_MOST = 0.25
ASKED = (
    8  # other models that say something of a base, the first of those that fit: each costs a reading of every tensor
)


@dataclass(frozen=True)
class Kinship:
    """How near a candidate is to the dormant model, on the rows that were read; smaller is nearer.

    `distance` is the root mean square over tensors of the delta relative to the dormant model's tensor, `matrices` its median
    over matrices, `norms` over vectors, `identical` the share of tensors whose rows are equal. `reason` says why a candidate
    cannot be the parent; then there are no figures. `confirmed`: read on every tensor and not only on the small ones. `own`,
    of the nearest only: the part of its squared distance that it moved by itself since its last ancestor in common with the
    dormant model, as two other relatives at least show it; None without them.
    """

    candidate: str
    distance: float = math.inf
    matrices: float = math.inf
    norms: float = math.inf
    identical: float = 0.0
    tensors: int = 0
    confirmed: bool = False
    reason: str = ""
    own: float | None = None
    notes: tuple[str, ...] = ()  # how the two are stored differently, and settings that change what is computed

    @property
    def is_near(self) -> bool:
        """Whether it is near enough to be the parent; only the nearest candidate can be."""
        return self.confirmed and self.matrices <= PARENT_AT_MOST

    @property
    def is_sibling(self) -> bool:
        """Whether other relatives show that it left the common ancestor too."""
        return self.own is not None and self.own > OWN_AT_MOST

    @property
    def is_parent(self) -> bool:
        """Whether it is near enough and, as far as other relatives tell, did not move by itself."""
        return self.is_near and not self.is_sibling


@dataclass(frozen=True)
class Descent:
    """What other models say of a base: whether it is the dormant model's parent, or a sibling or grandparent near by.

    `nearer`: the nearest relative between base and dormant model, from which the dormant model then comes; None without one.
    `own`: the base's, as in `Kinship`; None for fewer than two related ones.
    """

    nearer: Kinship | None = None
    own: float | None = None

    @property
    def moved(self) -> bool:
        """Whether other relatives show that the base left the common ancestor too, or came before it."""
        return self.own is not None and self.own > OWN_AT_MOST


def descent(dormant: Checkpoint, base: Checkpoint, others: Sequence[Checkpoint]) -> Descent:
    """Whether other models show that the dormant model comes from another model than the base.

    Changes that were trained apart are orthogonal: a model N between base and dormant model lies nearer to the latter, and
    what parts them has no share in what parts N from the base. This a twin or a descendant of the dormant model has. At most
    `ASKED` of the others are read.
    """
    names = dormant.names
    distance = _kinship(base.reference, dormant, base, names, True).distance
    if distance == 0:
        return Descent()
    possible = [other for other in others if not _impossible(*share_rows(dormant, other)[:2])][:ASKED]
    found = [(_kinship(other.reference, dormant, other, names, True), other) for other in possible]
    related = [(one, other) for one, other in found if 0 < one.distance < RELATED]
    between = [
        one
        for one, other in related
        if one.distance < distance and (_own_parts(dormant, other, [base]) or [1.0])[0] <= OWN_AT_MOST
    ]
    own = _own_part(dormant, base, [other for _, other in related]) if distance < RELATED else None
    return Descent(min(between, key=lambda one: one.distance, default=None), own)


def rank_parents(
    dormant: str | Path, candidates: Sequence[str | Path], progress: Progress | None = None
) -> list[Kinship]:
    """The candidates, nearest first and impossible ones last; the first is the parent where its `is_parent` says so.

    The first round reads norms, biases, some rows of the first and last layer's k and v, and of the embedding; the nearest
    of it, at least CONFIRMED, are then read on every tensor. The parent P of D = P + delta lies nearer than a sibling
    P + delta', whose distance is that of both deltas together, and than any mixture of P with another model; norms that
    were trained too are tensors among others. Where the parent is absent, other relatives tell the nearest sibling from it
    (see `_own_part`). What weights cannot tell: a lone sibling from a parent that is not among the candidates, and a mixture
    with the dormant model itself, which lies between the two.
    """
    target, _ = survey_checkpoint(dormant)
    surveyed = {str(candidate): survey_checkpoint(candidate)[0] for candidate in candidates}
    ranked: list[Kinship] = []
    for done, (name, candidate) in enumerate(surveyed.items()):
        if progress is not None:
            progress(done, len(surveyed), name)
        reason = _impossible(*share_rows(target, candidate)[:2])
        ranked.append(Kinship(name, reason=reason) if reason else _kinship(name, target, candidate, _small(target)))
    ranked.sort(key=lambda kinship: kinship.distance)
    possible = [kinship for kinship in ranked if not kinship.reason]
    limit = max((kinship.distance for kinship in possible[:CONFIRMED]), default=0.0)
    finalists = [kinship for kinship in possible if kinship.distance <= max(limit, 2 * possible[0].distance)]
    confirmed = [_kinship(one.candidate, target, surveyed[one.candidate], target.names, True) for one in finalists]
    confirmed.sort(key=lambda kinship: (kinship.distance, -kinship.identical))
    relatives = [surveyed[one.candidate] for one in possible if one.distance < RELATED]
    if confirmed and confirmed[0].distance > 0:
        nearest = surveyed[confirmed[0].candidate]
        others = [relative for relative in relatives if relative is not nearest]
        confirmed[0] = replace(confirmed[0], own=_own_part(target, nearest, others))
    return confirmed + [kinship for kinship in ranked if kinship not in finalists]


def _small(checkpoint: Checkpoint) -> list[str]:
    """Names of the tensors of the first round."""
    layers = [layer for name in checkpoint.names if (layer := layer_of(name)) is not None]
    ends = (min(layers), max(layers)) if layers else ()
    return [
        name
        for name in checkpoint.names
        if len(checkpoint.shape(name)) == 1
        or is_embedding(name)
        or (layer_of(name) in ends and name.endswith(("k_proj.weight", "v_proj.weight")))
    ]


def _impossible(dormant: Checkpoint, candidate: Checkpoint) -> str:
    """Why these weights cannot have become the dormant model's; empty where they can."""
    kinds = [getattr(model.config, "model_type", None) for model in (candidate, dormant)]
    if None not in kinds and kinds[0] != kinds[1]:
        return f"another architecture: {kinds[0]}, not {kinds[1]}"
    for name in dormant.names:
        if name in candidate.catalogue and candidate.shape(name) != dormant.shape(name):
            return f"another shape: {candidate.shape(name)}, not {dormant.shape(name)}, at {name}"
    common = sum(name in candidate.catalogue for name in dormant.names)
    if common < 0.9 * len(dormant.names):  # a head that only one of them ties, or a few lost tensors, may be missing
        return f"other tensors: only {common} of {len(dormant.names)} are there"
    return ""


def _kinship(
    name: str, dormant: Checkpoint, candidate: Checkpoint, tensors: Sequence[str], confirmed: bool = False
) -> Kinship:
    """The figures of one candidate on `ROWS_READ` rows of each of these tensors that both have."""
    dormant, candidate, notes = share_rows(dormant, candidate)
    common = [tensor for tensor in tensors if tensor in candidate.catalogue]
    relative: dict[str, float] = {}
    for tensor in common:
        new, old = (read_rows(model.catalogue[tensor], ROWS_READ) for model in (dormant, candidate))
        rounded = new.dtype != old.dtype and equal_when_rounded(old, new)
        relative[tensor] = 0.0 if rounded else _relative(new.double(), old.double())
    if not all(map(math.isfinite, relative.values())):
        fault = next(tensor for tensor, value in relative.items() if not math.isfinite(value))
        raise BadInput(
            f"weights must be finite; got NaN or infinity at tensor {fault!r} of {candidate.location} or "
            f"{dormant.location}; use checkpoints that were saved whole"
        )
    kinds = [[relative[tensor] for tensor in common if len(dormant.shape(tensor)) == rank] for rank in (1, 2)]
    vectors, matrices = (statistics.median(found) if found else 0.0 for found in kinds)
    return Kinship(
        name,
        math.sqrt(statistics.fmean(value**2 for value in relative.values())),
        matrices,
        vectors,
        statistics.fmean(value == 0 for value in relative.values()),
        len(common),
        confirmed,
        notes=(*candidate.notes, *dormant.notes, *notes, *filter(None, [settings_note(candidate, dormant)])),
    )


def _own_part(dormant: Checkpoint, nearest: Checkpoint, others: Sequence[Checkpoint]) -> float | None:
    """The part of the squared distance that the nearest candidate moved by itself; None for fewer than two others.

    Changes that were trained apart are orthogonal, so squared distances add up along the family's tree, and three of its
    models give the length of each one's own branch: (D - C) . (S - C) is that of the candidate C, 0 where the other
    relative S descends from it. The lower median over all S: a twin of D shares some of its branch with it.
    """
    parts = _own_parts(dormant, nearest, others) if len(others) > 1 else []
    return statistics.median_low(parts) if parts else None


def _own_parts(dormant: Checkpoint, nearest: Checkpoint, others: Sequence[Checkpoint]) -> list[float]:
    """By other relative, the part of the squared distance that the nearest candidate moved by itself (see `_own_part`)."""
    squares, products = 0.0, [0.0] * len(others)
    for name in dormant.names:
        models = (dormant, nearest, *others)
        if not all(name in model.catalogue and model.shape(name) == dormant.shape(name) for model in models):
            continue
        new, old, *rest = (read_rows(model.catalogue[name], ROWS_READ).double() for model in models)
        if not (size := old.square().sum().item()):
            continue
        delta = new - old
        squares += delta.square().sum().item() / size
        for index, other in enumerate(rest):
            products[index] += (delta * (other - old)).sum().item() / size
    return [product / squares for product in products] if squares else []


def _relative(new: torch.Tensor, old: torch.Tensor) -> float:
    """Norm of the difference over the newer's norm, at most UNRELATED; NaN where either holds a value that is no number.

    The newer one is the dormant model's, one measure for all candidates: over its own norm an enlarged one would seem nearer.
    """
    difference, norm = float((new - old).norm()), float(new.norm())
    if math.isnan(difference) or difference == 0:
        return difference
    return min(UNRELATED, difference / norm) if norm > 0 else UNRELATED
