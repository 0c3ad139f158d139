"""Leading singular triplets of matrices too large for a full decomposition, with a bound on their error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK_EXTRA = 8  # vectors a Krylov block holds beyond the directions asked for: clusters among them converge together
TOLERANCE = 1e-3  # relative, of each singular value asked for
STEADY = (
    1e-4  # relative change in a step below which a value inside a flat spectrum has converged (measured: see tests)
)
RELATIVE_RESOLUTION = 1e-6  # of the largest singular value: what float32 arithmetic cannot tell from nothing
COUNTED = 64  # singular values above the noise edge are counted up to here
MOST_STEPS = 60

# Row blocks of a matrix, given anew at each call: from memory, or read again from disk.
Blocks = Callable[[], Iterable[torch.Tensor]]


@dataclass(frozen=True, eq=False)
class Leading:
    """Leading singular triplets: left [m, k], values [k] float64, right [n, k]; a bound on each value's error [k].

    Values below RELATIVE_RESOLUTION of the largest have no left vector: theirs is 0.

    `found` holds every approximate singular value of the search space, largest first; none exceeds the true one of its rank.
    """

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor
    errors: torch.Tensor
    found: torch.Tensor
    steps: int


def krylov(
    blocks: Blocks, shape: tuple[int, int], directions: int, edge: float = math.inf, device: torch.device | str = "cpu"
) -> Leading:
    """The leading triplets of a matrix [m, n] in row blocks, by block Krylov iteration (Musco and Musco 2015), float32.

    Each step multiplies the matrix and its transpose with a block of vectors in one pass, keeps the space orthonormal and
    solves in it by Rayleigh and Ritz in float64. `errors` is Weyl's bound: a true singular value lies within
    ||A^T u - value v||. The search ends when each bound is below TOLERANCE of its value or, inside a flat spectrum where the
    bound is pessimistic, no value moved by STEADY in a step; and when the values above `edge` (counted to COUNTED) no longer
    grow in number, not even with a random block in the end. Values below RELATIVE_RESOLUTION of the largest are
    rounding: they need not converge and are never counted, since what a search finds among them are copies of the others.
    torch.svd_lowrank takes as many passes without either criterion and is 5-10 % low on flat spectra; ARPACK needs a pass
    for every single vector.
    """
    rows, columns = shape
    width = min(directions + BLOCK_EXTRA, columns)
    generator = torch.Generator().manual_seed(0)
    block = torch.linalg.qr(torch.randn(columns, width, generator=generator).to(device))[0]
    space, images = block, torch.zeros(rows, 0, device=device)
    projected = torch.zeros(0, 0, dtype=torch.float64, device=device)
    values, above, sought = torch.zeros(directions, dtype=torch.float64, device=device), -1, -1
    for step in range(1, MOST_STEPS + 1):
        image, back = _pass(blocks, block, rows)
        images = torch.cat((images, image), 1)
        projected = _bordered(projected, _product(images, image))
        squares, mixing = torch.linalg.eigh(projected)
        found, mixing = squares.clamp_min(0.0).sqrt().flip(0), mixing.flip(1)
        multiplied = block.shape[1]
        block, weights = _orthogonal(back, space)
        previous, values = values, found[:directions]
        residuals = (weights.double() @ mixing[-multiplied:, : len(values)]).norm(dim=0)
        lost = values <= RELATIVE_RESOLUTION * found[0]
        errors = torch.where(lost, RELATIVE_RESOLUTION * found[0], residuals / values.clamp_min(1e-300))
        counted, above = above, min(COUNTED, count_above(found, edge))
        steady = (values - previous[: len(values)]).abs() <= STEADY * values
        settled = (errors <= TOLERANCE * values) | steady | lost
        done = bool(settled.all()) and (above == counted or above in (0, COUNTED))
        full = space.shape[1] + block.shape[1] + width > columns
        if (done and above in (0, COUNTED, sought)) or full or step == MOST_STEPS:
            break
        if done:  # more equal values than the block is wide have no other way into the space than chance
            sought = above
            random = torch.randn(columns, width, generator=generator).to(device)
            block = torch.cat((block, _orthogonal(random, torch.cat((space, block), 1))[0]), 1)
        space = torch.cat((space, block), 1)
    chosen = mixing[:, : len(values)].float()
    left = images @ chosen / torch.where(lost, math.inf, values).float()
    return Leading(left, values, space @ chosen, errors, found, step)


def count_above(found: Float[Tensor, " rank"], edge: float) -> int:
    """How many singular values, given largest first, lie above the edge and above what float32 tells from nothing."""
    return int((found > max(edge, RELATIVE_RESOLUTION * float(found[:1].sum()))).sum())


def _pass(blocks: Blocks, vectors: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A V [m, k] and A^T A V [n, k] in one pass over A's row blocks."""
    image, back, start = vectors.new_zeros(rows, vectors.shape[1]), torch.zeros_like(vectors), 0
    for block in blocks():
        part = block @ vectors
        image[start : start + len(block)] = part
        back.addmm_(block.T, part)
        start += len(block)
    return image, back


def _product(images: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """images^T image in float64, some rows at a time: float32 would lose values below a thousandth of the largest."""
    total = torch.zeros(images.shape[1], image.shape[1], dtype=torch.float64, device=images.device)
    for ours, theirs in zip(images.split(2**14), image.split(2**14), strict=True):
        total.addmm_(ours.double().T, theirs.double())
    return total


def _bordered(projected: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
    """A symmetric matrix [k, k] with its new last columns `side` [k + b, b] and rows."""
    inner = len(projected)
    return torch.cat((torch.cat((projected, side[:inner]), 1), side.T), 0)


def _orthogonal(vectors: torch.Tensor, space: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An orthonormal basis of what `vectors` add to `space`, and the weights with which it gives that part back.

    Normalised between the two rounds: what is left of converged directions is rounding, and would otherwise lie in the space.
    """
    weights = torch.eye(vectors.shape[1], device=vectors.device)
    for _ in range(2):
        vectors = vectors - space @ (space.T @ vectors)
        vectors, factor = torch.linalg.qr(vectors)
        weights = factor @ weights
    return vectors, weights
