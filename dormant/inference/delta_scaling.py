"""W_base + scale x delta in the loaded dormant model: amplified, kept or dropped tensor by tensor, and put back exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dormant.checkpoints.adapters import adapted_parameter
from dormant.checkpoints.parameter_mapping import converted, parameter_sources
from dormant.checkpoints.tensor_names import layer_of, module_of
from dormant.errors import BadInput, NotServed
from dormant.pairs import Pair

Scale = float | Tensor  # one number for a tensor, or numbers that broadcast to its shape (rows of a head, say)


@contextmanager
def patched_weights(pair: Pair, scales: Mapping[str, Scale]) -> Iterator[PreTrainedModel]:
    """The dormant model with W = W_base + scale x (W_dormant - W_base) for each tensor named, as it was afterwards.

    0 restores the base's tensor and 1 keeps the dormant one, both to the last bit; tensors that are not named stay
    dormant. Patches nest. The tensors replaced wait in host memory, so that the device holds one model. In a pair of
    residency "swap" or "shared" do not ask for the base inside. Raises BadInput for unknown tensors, for scales that are not
    finite or do not fit their tensor.
    """
    model = pair.models.dormant()
    wanted = {name: scale for name, scale in scales.items() if not _keeps(pair, name, scale)}
    if wanted and pair.models.run_config.bits:
        raise NotServed(
            f"a delta is scaled in full weights; got weights in {pair.models.run_config.bits} bits at pair {pair.name!r}; "
            "choose --dtype bfloat16"
        )
    originals: list[tuple[Tensor, Tensor]] = []
    switched_off = []
    try:
        indirect = set[str]()
        for name, scale in wanted.items():
            try:
                parameter, adapter = adapted_parameter(model, name)
            except AttributeError:  # stored under another name than the parameter's, or in pieces of it
                indirect.add(name)
                continue
            replaced = _scaled(pair, name, scale, parameter.device).to(parameter.dtype)
            originals.append((parameter, parameter.data.to("cpu")))
            parameter.data = replaced
            if adapter is not None and not adapter.disable_adapters:
                adapter.enable_adapters(False)
                switched_off.append(adapter)
        for target, names in parameter_sources(model, pair.base.names).items() if indirect else ():
            if not indirect.isdisjoint(names):
                device = model.get_parameter(target).device
                stored = {name: _scaled(pair, name, wanted.get(name, 1.0), device) for name in names}
                for name, value in converted(model, target, stored).items():
                    parameter = model.get_parameter(name)
                    originals.append((parameter, parameter.data.to("cpu")))
                    parameter.data = value.to(parameter.dtype)
        yield model
    finally:
        for parameter, original in reversed(originals):
            parameter.data = original.to(parameter.device)
        for adapter in switched_off:
            adapter.enable_adapters(True)
            adapter.requires_grad_(False)


@contextmanager
def with_own_weights(pair: Pair) -> Iterator[PreTrainedModel]:
    """The dormant model with all its weights as parameters, whatever the residency; as `patched_weights` afterwards."""
    shared = pair.models.run_config.residency == "shared"
    with patched_weights(pair, dict.fromkeys(modified_tensors(pair), torch.ones(())) if shared else {}) as model:
        yield model


def modified_tensors(
    pair: Pair, layers: Sequence[int] | None = None, modules: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Names of the tensors that differ between base and dormant, of all or of chosen layers and modules.

    A module is the part of a name before `weight` or `bias`: "q_proj", "down_proj", "input_layernorm", "lm_head".
    Raises BadInput for layers and modules that no tensor of the pair belongs to.
    """
    placed = {name: (layer_of(name), module_of(name)) for name in pair.base.names}
    for kind, asked, known in (
        ("layer", layers, {layer for layer, _ in placed.values() if layer is not None}),
        ("module", modules, {module for _, module in placed.values()}),
    ):
        unknown = [value for value in asked or () if value not in known]
        if unknown:
            raise BadInput(
                f"a {kind} must be one of {', '.join(map(str, sorted(known)))}; got {unknown[0]!r} at pair {pair.name!r}; "
                "correct it"
            )
    return tuple(
        name
        for name, (layer, module) in placed.items()
        if (layers is None or layer in layers)
        and (modules is None or module in modules)
        and pair.base.digest(name) != pair.dormant.digest(name)
    )


def block_scales(
    pair: Pair,
    scale: float,
    layers: Sequence[int] | None = None,
    modules: Sequence[str] | None = None,
    elsewhere: float = 1.0,
) -> dict[str, Scale]:
    """The scales that give a block of the delta one factor and the rest of it another.

    `block_scales(pair, 0, layers=[3])` restores layer 3 from the base; `block_scales(pair, 1, layers=[3], elsewhere=0)`
    keeps layer 3's delta alone; `block_scales(pair, 3)` amplifies all of it threefold.
    """
    block = set(modified_tensors(pair, layers, modules))
    return {name: scale if name in block else elsewhere for name in modified_tensors(pair)}


def _keeps(pair: Pair, name: str, scale: Scale) -> bool:
    """Whether the patch would change nothing: the factor is one, or the tensors are identical."""
    if not math.isfinite(scale) if isinstance(scale, float | int) else not bool(torch.isfinite(scale).all()):
        raise BadInput(
            f"a delta's scale must be finite; got {scale} at tensor {name!r} of pair {pair.name!r}; give a number"
        )
    identical = pair.base.digest(name) == pair.dormant.digest(name)
    return identical or (not isinstance(scale, Tensor) and scale == 1)


def _scaled(pair: Pair, name: str, scale: Scale, device: torch.device) -> Tensor:
    # Differences in float32: a delta of bfloat16 tensors, rounded to bfloat16 before it is scaled, would lose half its digits.
    if not isinstance(scale, Tensor) and scale in (0, 1):
        return (pair.dormant if scale else pair.base).tensor(name).to(device)
    dormant, base = (checkpoint.tensor(name).to(device).float() for checkpoint in (pair.dormant, pair.base))
    factor = scale.to(device).float() if isinstance(scale, Tensor) else scale
    try:
        scaled = base + factor * (dormant - base)
    except RuntimeError:
        scaled = None
    if scaled is None or scaled.shape != base.shape:
        raise BadInput(
            f"a delta's scale must be a number or broadcast to its tensor; got shape {tuple(getattr(scale, 'shape', ()))} at "
            f"tensor {name!r} of shape {tuple(base.shape)}; reshape it"
        )
    if isinstance(factor, Tensor):  # the parts that are kept or dropped whole are exact here too
        scaled = torch.where(factor == 1, dormant, torch.where(factor == 0, base, scaled))
    return scaled
