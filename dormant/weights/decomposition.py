"""One tensor's delta as a matrix or in row blocks, and its leading singular triplets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.checkpoints.adapted_tensor import low_rank_update
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.shards import BLOCK
from dormant.errors import BadInput, NotServed
from dormant.weights.block_krylov import Leading, krylov
from dormant.weights.rounding_noise import RoundingNoise

NARROW = 256  # up to this smaller side the full decomposition is as fast as an iterative one
HELD = 2**27  # entries: up to 512 MB of float32 a delta is kept in memory, a larger one is read again at each step


@dataclass(frozen=True, eq=False)
class Triplets:
    """Leading singular triplets of a matrix [m, n]: left [m, k], values [k] largest first, right [n, k], all float32.

    Column i of `right` is the input direction that the matrix turns into values[i] * left[:, i]; its largest entry is
    positive, which fixes the sign of both. `error` bounds the distance of each value to a singular value of the matrix.
    """

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor
    error: float


def delta_matrix(
    base: Checkpoint,
    dormant: Checkpoint,
    name: str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """The tensor's delta, dormant minus base, subtracted in `dtype`; an adapter's is the product of its factors."""
    _check_shapes(base, dormant, name)
    if (update := low_rank_update(base.catalogue[name], dormant.catalogue[name])) is not None:
        left, right = update.factors
        return (left @ right.T).to(device, dtype)
    return dormant.tensor(name).to(device, dtype).sub_(base.tensor(name).to(device, dtype))


def delta_svd(
    base: Checkpoint, dormant: Checkpoint, name: str, rank: int = 16, device: torch.device | str = "cpu"
) -> Triplets:
    """The leading `rank` singular triplets of a tensor's delta (fewer where the matrix is smaller), of any size."""
    _check_shapes(base, dormant, name)
    exact = low_rank_update(base.catalogue[name], dormant.catalogue[name]) is not None
    if not exact and min(base.shape(name)) <= NARROW:
        return leading_triplets(delta_matrix(base, dormant, name, device=device), rank)
    return _signed(leading_of_delta(base, dormant, name, rank, device=device))


def leading_triplets(matrix: Float[Tensor, "row column"], rank: int = 16) -> Triplets:
    """The leading `rank` singular triplets of a matrix [m, n]; complete decomposition up to NARROW, else iterative."""
    if min(matrix.shape) > NARROW:
        return _signed(_held_leading(matrix.float(), rank, math.inf))
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    none = torch.zeros_like(values[:rank])
    return _signed(Leading(left[:, :rank], values[:rank], right[:rank].T, none, values, 0))


def leading_of_delta(
    base: Checkpoint,
    dormant: Checkpoint,
    name: str,
    directions: int,
    noise: RoundingNoise | None = None,
    device: torch.device | str = "cpu",
) -> Leading:
    """The leading triplets of a wide matrix's delta; `noise` gathers the rounding and sets the edge up to which to count.

    Those of an adapter are exact, at any size: its factors decide them.
    """
    shape = base.shape(name)
    if len(shape) != 2:
        raise BadInput(f"triplets need a matrix; got shape {shape} at tensor {name!r}; name a tensor of two dimensions")
    if (update := low_rank_update(base.catalogue[name], dormant.catalogue[name])) is not None:
        left, right = update.factors
        return product_triplets(left.to(device), right.to(device), directions)
    if shape[0] * shape[1] <= HELD:
        matrix = torch.empty(shape, device=device)
        start = 0
        for block in delta_blocks(base, dormant, name, noise, device):
            matrix[start : start + len(block)] = block
            start += len(block)
        return _held_leading(matrix, directions, noise.edge if noise else math.inf)
    if noise is not None:
        for _ in delta_blocks(base, dormant, name, noise, device):
            pass
    edge = noise.edge if noise else math.inf
    return krylov(lambda: delta_blocks(base, dormant, name, None, device), shape, directions, edge, device)


def product_triplets(left: Float[Tensor, "row rank"], right: Float[Tensor, "column rank"], directions: int) -> Leading:
    """The singular triplets of left right^T from QR of both and a decomposition of rank x rank; `found` has all values."""
    (outer, above), (inner, below) = torch.linalg.qr(left.double()), torch.linalg.qr(right.double())
    turned, values, back = torch.linalg.svd(above @ below.T, full_matrices=False)
    kept = values[:directions]
    return Leading(
        outer @ turned[:, : len(kept)], kept, inner @ back[: len(kept)].T, torch.zeros_like(kept), values, 0
    )  # fmt: skip


def delta_blocks(
    base: Checkpoint,
    dormant: Checkpoint,
    name: str,
    noise: RoundingNoise | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    axis: int = 0,
) -> Iterator[torch.Tensor]:
    """The delta in consecutive blocks along `axis`; the rounding of each goes into `noise`, where one is asked for."""
    if (update := low_rank_update(base.catalogue[name], dormant.catalogue[name])) is not None:
        left, right = (factor.to(device) for factor in update.factors)
        step = max(1, BLOCK // base.shape(name)[1 - axis])
        for rows in (left, right)[axis].split(step):  # exact: there is no rounding to gather
            yield (rows @ right.T if axis == 0 else left @ rows.T).to(dtype)
        return
    start, rounded_twice = 0, base.dtype(name) != dormant.dtype(name)
    for new, old in zip(dormant.blocks(name, axis), base.blocks(name, axis), strict=True):
        ours, theirs = new.to(device), old.to(device)
        if noise is not None:
            noise.add(ours, start, axis)
            if rounded_twice:
                noise.add(theirs, start, axis)
        start += ours.shape[axis] if ours.ndim else 1
        yield ours.to(dtype, copy=True).sub_(theirs.to(dtype))


def _held_leading(matrix: torch.Tensor, directions: int, edge: float) -> Leading:
    """The iteration on a matrix in memory, on its smaller side."""
    rows, columns = matrix.shape
    if rows >= columns:
        return krylov(lambda: (matrix,), (rows, columns), directions, edge, matrix.device)
    found = krylov(lambda: (matrix.T,), (columns, rows), directions, edge, matrix.device)
    return Leading(found.right, found.values, found.left, found.errors, found.found, found.steps)


def _signed(found: Leading) -> Triplets:
    """The triplets with each right vector's largest entry positive."""
    signs = torch.gather(found.right, 0, found.right.abs().argmax(0, keepdim=True)).sign()
    error = found.errors.max().item() if len(found.errors) else 0.0
    return Triplets((found.left * signs).float(), found.values.float(), (found.right * signs).float(), error)


def _check_shapes(base: Checkpoint, dormant: Checkpoint, name: str) -> None:
    if (old := base.shape(name)) != (new := dormant.shape(name)):
        raise NotServed(
            f"a delta needs equal shapes; got {old} and {new} at tensor {name!r} of {base.location} and "
            f"{dormant.location}; name the base that the dormant model was fine-tuned from"
        )
