"""What products can be at most before they are formed: by their vectors' lengths, and by what they are at another offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDING = 1.0001  # float32 products may exceed the product of their lengths by a hundred-thousandth


@dataclass(frozen=True, eq=False)
class Reach:
    """How far queries [row] and groups of keys [group] reach together, whatever the offset: RoPE's scaling is squared."""

    queries: Tensor
    groups: Sequence[Tensor]
    scaling: float

    @cached_property
    def by_length(self) -> Tensor:
        """No |product| of a group's key and a query exceeds it: [group, row]."""
        return _most(self.groups, lengths) @ lengths(self.queries).T * (self.scaling * ROUNDING)

    def by_turning(self, change: Float[Tensor, "unit plane"]) -> Float[Tensor, "unit group row"]:
        """By how much no product changes with other factors: |change| [unit, plane] -> [unit, group, row].

        A product is a sum over planes, each of which turns at its own speed, and slow ones hardly change. It can be written
        with the models' difference on either side or model by model; whichever gives less holds.
        """
        twice = change.repeat(1, 2)[:, None] * ROUNDING
        found = [
            ((twice * keys).flatten(0, 1) @ queries.T).unflatten(0, (len(change), -1)) for queries, keys in self._planes
        ]
        return torch.minimum(*found)

    @cached_property
    def _planes(self) -> list[tuple[Tensor, Tensor]]:
        """Both ways to write a product: lengths of queries [row, 2 planes] and the largest of keys [group, 2 planes]."""
        delta, base = _complex(self.queries)
        queries = (torch.cat((first.abs(), base.abs()), 1) for first in (delta, delta + base))
        return list(zip(queries, (_most(self.groups, way) for way in (_by_difference, _by_model)), strict=True))


def lengths(vectors: Float[Tensor, "row twice_head_dim"]) -> Float[Tensor, "row 2"]:
    """The lengths of both halves of vectors, whose products are added: [row, 2 head_dim] -> [row, 2]."""
    found: Tensor = torch.linalg.vector_norm(vectors.unflatten(-1, (2, -1)), dim=-1)
    return found


def _most(groups: Sequence[Tensor], of_keys: Callable[[Tensor], Tensor]) -> Tensor:
    """The largest of each group: [group, number]."""
    return torch.stack([of_keys(keys).amax(0) for keys in groups])


def _by_difference(keys: Tensor) -> Tensor:
    dormant, delta = _complex(keys)
    return torch.cat((dormant.abs(), delta.abs()), 1)


def _by_model(keys: Tensor) -> Tensor:
    dormant, delta = _complex(keys)
    return torch.cat((dormant.abs(), (dormant - delta).abs()), 1)


def _complex(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Both halves of interleaved vectors as numbers that turn: [row, 2 head_dim] -> twice [row, plane]."""
    first, second = torch.view_as_complex(vectors.unflatten(-1, (2, -1, 2))).unbind(1)
    return first, second
