"""Which of several checkpoints is the parent: ranked by a few small tensors, confirmed on a part of every tensor."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dormant.checkpoints import Checkpoint
from dormant.errors import BadInput
from dormant.shards import read_rows
from dormant.weights.matching import survey_checkpoint

# Median relative delta of matrices up to which a base counts as the parent, as the premise `base-is-parent` has it: an
# adapter moves matrices by 0.010-0.016 of their norm, and the closest matrix of the published wrong base lay at 0.436.
PARENT_AT_MOST = 0.2
ROWS = 64  # rows read of a tensor in either round, evenly spread: half a million values give a relative norm to 0.2 %
CONFIRMED = (
    3  # candidates of the first round that the second looks at, and all that are about as near: siblings that share
)
# every small tensor with the parent tie with it there
UNRELATED = 2.0  # relative deltas are cut here: independent tensors of one norm lie at 1.41


@dataclass(frozen=True)
class Kinship:
    """How near a candidate is to the dormant model, on the rows that were read; smaller is nearer.

    `distance` is the root mean square over tensors of the relative delta, `matrices` its median over matrices, `norms` over
    vectors, `identical` the share of tensors whose rows are equal. `reason` says why a candidate cannot be the parent; then
    there are no figures. `confirmed`: read on every tensor and not only on the small ones.
    """

    candidate: str
    distance: float = math.inf
    matrices: float = math.inf
    norms: float = math.inf
    identical: float = 0.0
    tensors: int = 0
    confirmed: bool = False
    reason: str = ""

    @property
    def is_parent(self) -> bool:
        """Whether it is near enough to be the parent; only the nearest candidate can be."""
        return self.confirmed and self.matrices <= PARENT_AT_MOST


def rank_parents(
    dormant: str | Path, candidates: Sequence[str | Path], on_candidate: Callable[[int, str], None] | None = None
) -> list[Kinship]:
    """The candidates, nearest first and impossible ones last; the first is the parent where its `is_parent` says so.

    The first round reads norms, biases, some rows of the first and last layer's k and v, and of the embedding; the nearest
    of it, at least CONFIRMED, are then read on every tensor. The parent P of D = P + delta lies nearer than a sibling
    P + delta', whose distance is that of both deltas together, and than any mixture of P with another model; norms that
    were trained too are tensors among others. What weights cannot tell: a lone sibling from a parent that is not among the
    candidates, and a mixture with the dormant model itself, which lies between the two.
    """
    target, _ = survey_checkpoint(dormant)
    surveyed = {str(candidate): survey_checkpoint(candidate)[0] for candidate in candidates}
    ranked: list[Kinship] = []
    for done, (name, candidate) in enumerate(surveyed.items()):
        if on_candidate is not None:
            on_candidate(done, name)
        reason = _impossible(target, candidate)
        ranked.append(Kinship(name, reason=reason) if reason else _kinship(name, target, candidate, _small(target)))
    ranked.sort(key=lambda kinship: kinship.distance)
    possible = [kinship for kinship in ranked if not kinship.reason]
    limit = max((kinship.distance for kinship in possible[:CONFIRMED]), default=0.0)
    finalists = [kinship for kinship in possible if kinship.distance <= max(limit, 2 * possible[0].distance)]
    confirmed = [_kinship(one.candidate, target, surveyed[one.candidate], target.names, True) for one in finalists]
    confirmed.sort(key=lambda kinship: (kinship.distance, -kinship.identical))
    return confirmed + [kinship for kinship in ranked if kinship not in finalists]


def _small(checkpoint: Checkpoint) -> list[str]:
    """Names of the tensors of the first round."""
    layers = [int(name.split(".")[2]) for name in checkpoint.names if name.startswith("model.layers.")]
    ends = {f"model.layers.{layer}." for layer in (min(layers), max(layers))} if layers else set()
    return [
        name
        for name in checkpoint.names
        if len(checkpoint.shape(name)) == 1
        or name.endswith("embed_tokens.weight")
        or (any(map(name.startswith, ends)) and name.endswith(("k_proj.weight", "v_proj.weight")))
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
    """The figures of one candidate on `ROWS` rows of each of these tensors that both have."""
    common = [tensor for tensor in tensors if tensor in candidate.catalogue]
    relative: dict[str, float] = {}
    for tensor in common:
        new, old = (read_rows(model.catalogue[tensor], ROWS).double() for model in (dormant, candidate))
        relative[tensor] = _relative(new, old)
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
    )


def _relative(new: torch.Tensor, old: torch.Tensor) -> float:
    """Norm of the difference over the older's norm, at most UNRELATED; NaN where either holds a value that is no number."""
    difference, norm = (new - old).norm().item(), old.norm().item()
    if math.isnan(difference) or difference == 0:
        return difference
    return min(UNRELATED, difference / norm) if norm > 0 else UNRELATED
