"""What rounding alone leaves in a delta: the noise edge, above which a singular value is signal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# dtype: the integer that reads its bits, the mask of its exponent, the significand's stored bits
LAYOUTS = {
    torch.bfloat16: (torch.int16, 0x7F80, 7),
    torch.float16: (torch.int16, 0x7C00, 10),
    torch.float32: (torch.int32, 0x7F800000, 23),
    torch.float64: (torch.int64, 0x7FF0000000000000, 52),
}
TRACY_WIDOM = 3.27  # exceeded by the scaled largest eigenvalue of noise once in a thousand matrices (Bejan, 2005)


@dataclass
class RoundingNoise:
    """The variance that storing a matrix gives each of its rows and columns, summed over blocks as they pass."""

    rows: torch.Tensor
    columns: torch.Tensor

    @classmethod
    def of_shape(cls, shape: tuple[int, ...], device: torch.device | str = "cpu") -> RoundingNoise:
        """No noise yet for a matrix of this shape."""
        rows, columns = (torch.zeros(size, dtype=torch.float64, device=device) for size in shape)
        return cls(rows, columns)

    def add(self, stored: torch.Tensor, start: int = 0, axis: int = 0) -> None:
        """Adds a block as stored, whose first row (axis 0) or column (axis 1) is `start`."""
        variance = rounding_variance(stored)
        across, along = (self.columns, self.rows) if axis == 0 else (self.rows, self.columns)
        across += variance.sum(axis)
        along[start : start + stored.shape[axis]] += variance.sum(1 - axis)

    @property
    def edge(self) -> float:
        """The singular value that this noise passes once in a thousand matrices (see `noise_edge`)."""
        row, column = (math.sqrt(sums.max().item()) if sums.numel() else 0.0 for sums in (self.rows, self.columns))
        return (row + column) * finite_size_factor(len(self.rows), len(self.columns))


def rounding_variance(stored: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Variance of the error with which each value was rounded to its dtype: a twelfth of its squared spacing, float32.

    Exact for a change that is spread wider than the spacing and an upper bound for smaller ones, of which rounding to the
    base's own value leaves less. Double precision has next to none: its squares are 0 in float32.
    """
    integer, exponent, bits = LAYOUTS[stored.dtype]
    power = (stored.view(integer) & exponent).view(stored.dtype)  # the power of two below each value
    return power.float().mul_(2.0**-bits).square_().div_(12)


def noise_edge(shape: tuple[int, ...], variance: float) -> float:
    """The largest singular value of independent entries of one variance: Marchenko and Pastur's edge and its fluctuation.

    sd * (sqrt(rows) + sqrt(columns)) is the limit (1967); at finite size noise passes the returned value once in a thousand
    matrices (Johnstone 2001). Where rows or columns differ in variance, `RoundingNoise` puts the noisiest of each in place
    of the mean (Bandeira and van Handel 2016), which never lies below.
    """
    rows, columns = shape
    return math.sqrt(max(variance, 0.0)) * (math.sqrt(rows) + math.sqrt(columns)) * finite_size_factor(rows, columns)


def finite_size_factor(rows: int, columns: int) -> float:
    """By how much the largest singular value of a finite noise matrix may pass the limit's edge."""
    if min(rows, columns) < 2:
        return 1.0 + TRACY_WIDOM / math.sqrt(max(rows, columns))  # a vector's norm: nearly normal around its mean
    one, other = math.sqrt(rows - 1), math.sqrt(columns)
    centre, scale = (one + other) ** 2, (one + other) * (1 / one + 1 / other) ** (1 / 3)
    return math.sqrt((centre + TRACY_WIDOM * scale) / (math.sqrt(rows) + other) ** 2)
