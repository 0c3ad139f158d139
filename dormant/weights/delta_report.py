"""What a fine-tune changed: the delta of every tensor, measured once and read by every weight claim."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from dormant.checkpoints.tensor_names import MODULES, layer_of
from dormant.errors import BadInput, NotServed
from dormant.weights.heads import HeadDelta, HeadLayout
from dormant.weights.rounding_noise import noise_edge

DIRECTIONS = 16  # leading singular values kept, as many as the published figures have


@dataclass(frozen=True)
class TensorDelta:
    """Dormant minus base for one tensor; `relative` and `max_abs` are None where a publication left them out.

    `norm` is the Frobenius norm of the delta, `relative` that norm over the base tensor's, `energy` the squared
    Frobenius norm that energy shares refer to, `singular_values` the leading ones, largest first (empty for identical
    tensors and for vectors), each within `spectrum_error` of its true value (0: a full decomposition). `noise_edge` is the
    largest singular value that rounding to the stored dtype would give by itself; `rank` counts those above it and above a
    millionth of the largest, where arithmetic ends ("at least" where `rank_is_bound`); `heads` holds the heads' parts of
    attention modules. What is None was not measured.
    """

    name: str
    shape: tuple[int, ...]
    identical: bool
    norm: float
    relative: float | None
    max_abs: float | None
    energy: float
    singular_values: tuple[float, ...] = ()
    spectrum_error: float = 0.0
    noise_edge: float | None = None
    rank: int | None = None
    rank_is_bound: bool = False
    heads: tuple[HeadDelta, ...] = ()

    @property
    def stable_rank(self) -> float:
        """The squared Frobenius norm over the largest singular value's square; 0 without a spectrum."""
        return self.energy / self.singular_values[0] ** 2 if self.singular_values and self.singular_values[0] else 0.0

    def remainder_edge(self, directions: int = DIRECTIONS) -> float:
        """The noise edge measured on the matrix: that of whatever the leading `directions` leave, taken as noise.

        For a low-rank change this is the rounding (FACTS 1: 0.0037-0.0061); far above `noise_edge` it is more change.
        """
        rows, columns = self.shape
        left = max(0.0, self.energy * (1 - self.energy_share(directions)))
        entries = max(1, (rows - directions) * (columns - directions))
        return noise_edge(self.shape, left / entries)

    def energy_share(self, directions: int = DIRECTIONS) -> float:
        """The part of the squared Frobenius norm in the leading `directions` singular values; 0 for a zero delta."""
        if self.energy == 0.0:
            return 0.0
        kept = len(self.singular_values)
        complete = len(self.shape) == 2 and kept == min(self.shape)
        if not kept or directions < 1 or (directions > kept and not complete):
            raise BadInput(
                f"an energy share needs a matrix and 1 to {kept} directions; got {directions} at tensor {self.name!r} "
                f"of shape {self.shape}; ask for directions that the delta report keeps"
            )
        return min(1.0, sum(value**2 for value in self.singular_values[:directions]) / self.energy)


@dataclass(frozen=True)
class TokenReadout:
    """The tokens of the whole vocabulary that a module's strongest changes read or write, the farthest out first.

    `lens`: "embedding" or "head" (what the module reads, each token as its embedding or as the direction in which the head
    reads it) or "logits" (what it writes). `scores` are standard deviations from the vocabulary's mean along one of the
    leading directions of `layers`, of either sign; `random` is the farthest that any token stands out along random ones.
    """

    module: str
    lens: str
    layers: tuple[int, ...]
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    random: float

    @property
    def beyond(self) -> int:
        """How many of those listed stand out farther than any token along random directions."""
        return sum(score > self.random for score in self.scores)


@dataclass(frozen=True)
class DeltaReport:
    """Every tensor's delta between a base and a dormant checkpoint, measured here or published elsewhere."""

    base: str
    dormant: str
    source: str
    tensors: Mapping[str, TensorDelta] = field(repr=False)
    note: str = ""
    norm_is_float32: bool = (
        False  # published norms that under-report large tensors: to be shown, never to be decided on
    )
    layout: HeadLayout | None = None
    faults: tuple[str, ...] = ()  # what could not be compared, a sentence each
    tokens: tuple[TokenReadout, ...] = ()  # empty where they were not asked for or cannot be seen

    @cached_property
    def n_layers(self) -> int:
        """Transformer layers, counted from the tensors' names."""
        return max((layer + 1 for name in self.tensors if (layer := layer_of(name)) is not None), default=0)

    @property
    def identical(self) -> tuple[str, ...]:
        """Names of the byte-identical tensors."""
        return tuple(name for name, delta in self.tensors.items() if delta.identical)

    @property
    def modified(self) -> tuple[str, ...]:
        """Names of the tensors that differ."""
        return tuple(name for name, delta in self.tensors.items() if not delta.identical)

    @property
    def total_norm(self) -> float:
        """Frobenius norm of the whole delta, from the energies."""
        return math.sqrt(math.fsum(delta.energy for delta in self.tensors.values()))

    def layers(self, module: str, part: str = "weight") -> list[TensorDelta | None]:
        """The delta of one module ("q_proj", ... "down_proj") in each layer; None where a layer has no such tensor."""
        found: list[TensorDelta | None] = [None] * self.n_layers
        for name, delta in self.tensors.items():
            if (layer := layer_of(name)) is not None and name.endswith(f".{module}.{part}"):
                found[layer] = delta
        if not any(found):
            raise NotServed(
                f"a module must be in the report; got {module}.{part} at {self.dormant}; "
                f"Qwen2's are {', '.join(MODULES)}"
            )
        return found

    def every_layer(self, module: str) -> list[TensorDelta]:
        """The delta of one module's weight in each layer; NotServed where a layer has none."""
        found = self.layers(module)
        if None in found:
            raise NotServed(
                f"every layer must have {module}; got none at layer {found.index(None)} ({self.source}); choose another module"
            )
        return [delta for delta in found if delta is not None]
