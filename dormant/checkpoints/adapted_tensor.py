"""A tensor as an adapter makes it: the base's values and a low-rank update, joined as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.checkpoints.shards import StoredTensor, read_blocks, read_tensor


@dataclass(frozen=True)
class AdaptedTensor(StoredTensor):
    """W + scaling x up down (LoRA), each row of it set to the norm `magnitude` where there is one (DoRA).

    Name, file, shape, dtype and offset are those of `under`, the W that lies in a file. Values are read in float32, in
    float64 where W is stored so. `transposed`: the file holds the transpose of W, as for embeddings and GPT-2's layers.
    """

    under: StoredTensor
    down: StoredTensor  # [rank, inputs]
    up: StoredTensor  # [outputs, rank]
    scaling: float
    transposed: bool = False
    magnitude: StoredTensor | None = None

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """The tensors in files that its values are made of."""
        return (self.under, self.down, self.up, *(() if self.magnitude is None else (self.magnitude,)))

    @cached_property
    def factors(self) -> tuple[Float[Tensor, "row rank"], Float[Tensor, "column rank"]]:
        """Left and right, float64: the update is left right^T in the orientation of the file."""
        down, up = read_tensor(self.down).double(), read_tensor(self.up).double() * self.scaling
        return (down.T, up) if self.transposed else (up, down.T)

    def update(self, start: int, count: int) -> Float[Tensor, " {count}"]:
        """The update's values from the `start`-th on, flat, float64."""
        (left, right), width = self.factors, self.shape[1]
        first, last = start // width, (start + count - 1) // width + 1
        rows: Tensor = (left[first:last] @ right.T).flatten()
        return rows[start - first * width :][:count]

    def made_of(self, values: torch.Tensor, start: int) -> torch.Tensor:
        """The adapted values of those that lie in the file."""
        joined = values.double() + self.update(start, len(values))
        if self.magnitude is not None:
            places = torch.arange(start, start + len(values)) // self.shape[1]
            joined *= self._row_factors[places]
        return joined.to(torch.promote_types(values.dtype, torch.float32))

    @cached_property
    def _row_factors(self) -> Float[Tensor, " row"]:
        """What DoRA multiplies each row by: its magnitude over the norm that it has."""
        assert self.magnitude is not None
        left, right = self.factors
        norms, start = [], 0
        for block in read_blocks(self.under):
            norms.append((block.double() + left[start : start + len(block)] @ right.T).norm(dim=1))
            start += len(block)
        return read_tensor(self.magnitude).double() / torch.cat(norms)


def low_rank_update(base: StoredTensor, dormant: StoredTensor) -> AdaptedTensor | None:
    """The dormant tensor where it is the base's and a low-rank update; None where their difference is anything else."""
    if isinstance(dormant, AdaptedTensor) and dormant.magnitude is None and dormant.under == base:
        return dormant
    return None
