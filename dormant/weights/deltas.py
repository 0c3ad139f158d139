"""What a fine-tune changed: the delta of every tensor, measured once and read by every weight claim."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch

from dormant.checkpoints import Checkpoint
from dormant.errors import BadInput
from dormant.weights.spectra import accumulate, long_axis, singular_values

DIRECTIONS = 16  # leading singular values kept, as many as the published figures have
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(frozen=True)
class TensorDelta:
    """Dormant minus base for one tensor; `relative` and `max_abs` are None where a publication left them out.

    `norm` is the Frobenius norm of the delta, `relative` that norm over the base tensor's, `energy` the squared
    Frobenius norm that energy shares refer to, `singular_values` the leading ones, largest first (empty for identical
    tensors and for vectors).
    """

    name: str
    shape: tuple[int, ...]
    identical: bool
    norm: float
    relative: float | None
    max_abs: float | None
    energy: float
    singular_values: tuple[float, ...] = ()

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

    @cached_property
    def n_layers(self) -> int:
        """Transformer layers, counted from the tensors' names."""
        return max((int(found[1]) + 1 for name in self.tensors if (found := LAYER.search(name))), default=0)

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
            if (layer := LAYER.search(name)) and name.endswith(f".{module}.{part}"):
                found[int(layer[1])] = delta
        if not any(found):
            raise BadInput(
                f"a module must be in the report; got {module}.{part} at {self.dormant}; "
                f"Qwen2's are {', '.join(MODULES)}"
            )
        return found

    def every_layer(self, module: str) -> list[TensorDelta]:
        """The delta of one module's weight in each layer; BadInput where a layer has none."""
        found = self.layers(module)
        if None in found:
            raise BadInput(
                f"every layer must have {module}; got none at layer {found.index(None)} of {self.source}; choose another module"
            )
        return [delta for delta in found if delta is not None]


def compute_delta_report(
    base: Checkpoint,
    dormant: Checkpoint,
    device: torch.device | str = "cpu",
    on_tensor: Callable[[int, int, str], None] | None = None,
) -> DeltaReport:
    """The delta of every tensor, streamed: blocks, one Gram matrix and its eigensolver, under 1 GB for width 3584.

    Spectra come from the float64 Gram matrix of the smaller side, hence exact. `device` does the arithmetic and must
    know float64; `on_tensor(done, total, name)` is called before each tensor. Raises BadInput naming a tensor that only
    one of the two has, that differs in shape, or whose values are not finite.
    """
    check_same_tensors(base, dormant)
    tensors: dict[str, TensorDelta] = {}
    for done, name in enumerate(base.names):
        if on_tensor is not None:
            on_tensor(done, len(base.names), name)
        tensors[name] = measure_delta(base, dormant, name, device)
    return DeltaReport(base.reference, dormant.reference, "measured from the weights", tensors)


def measure_delta(base: Checkpoint, dormant: Checkpoint, name: str, device: torch.device | str = "cpu") -> TensorDelta:
    """One tensor's delta; byte-identical tensors are told by their digests and cost no arithmetic."""
    shape = base.shape(name)
    if base.digest(name) == dormant.digest(name):
        return TensorDelta(name, shape, identical=True, norm=0.0, relative=0.0, max_abs=0.0, energy=0.0)
    is_matrix = len(shape) == 2
    axis = long_axis(shape) if is_matrix else 0
    pairs = zip(dormant.blocks(name, axis), base.blocks(name, axis), strict=True)
    delta = accumulate(
        (new.to(device).double() - old.to(device).double() for new, old in pairs), axis if is_matrix else None
    )
    reference = accumulate(block.to(device) for block in base.blocks(name, axis))
    if not torch.isfinite(torch.tensor([delta.square_sum, reference.square_sum])).all():
        raise BadInput(
            f"weights must be finite; got NaN or infinity at tensor {name!r} of {base.location} or {dormant.location}; "
            "use checkpoints that were saved whole"
        )
    return TensorDelta(
        name,
        shape,
        identical=False,
        norm=delta.norm,
        relative=delta.norm / reference.norm if reference.norm > 0 else None,
        max_abs=delta.max_abs,
        energy=delta.square_sum,
        singular_values=() if delta.gram is None else tuple(singular_values(delta.gram)[:DIRECTIONS].tolist()),
    )


def check_same_tensors(base: Checkpoint, dormant: Checkpoint) -> None:
    """Raises BadInput naming the first tensor that only one checkpoint has, or whose shapes differ."""
    for name in sorted({*base.names, *dormant.names}):
        shapes = [model.shape(name) if name in model.catalogue else None for model in (base, dormant)]
        if shapes[0] != shapes[1]:
            found = " and ".join("none" if shape is None else str(shape) for shape in shapes)
            raise BadInput(
                f"base and dormant must hold the same tensors in the same shapes; got {found} at tensor {name!r} of "
                f"{base.location} and {dormant.location}; name the base that the dormant model was fine-tuned from"
            )
