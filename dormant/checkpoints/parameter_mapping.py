"""From stored tensors to a model's parameters by transformers' own mapping: renamed, fused (experts) or split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    convert_and_load_state_dict_in_model,
    rename_source_key,
)
from transformers.modeling_utils import LoadStateDictConfig

from dormant.checkpoints.shards import StoredTensor
from dormant.checkpoints.transformers_output import quiet_transformers


def loading_fault(skeleton: PreTrainedModel, catalogue: Mapping[str, StoredTensor]) -> str:
    """The first name that transformers could not load into a model on "meta", or ""; nothing is read."""
    expected = {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}
    if all(expected.get(name) == tensor.shape for name, tensor in catalogue.items()):
        missing = expected.keys() - catalogue.keys() - skeleton.all_tied_weights_keys.keys()
        if not missing:  # every tensor is a parameter as it stands, and no mapping has to be tried
            return ""
    stored = {name: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for name, tensor in catalogue.items()}
    settings = LoadStateDictConfig(
        weight_mapping=_entries(skeleton), device_map={"": "meta"}, ignore_mismatched_sizes=True
    )
    with quiet_transformers():
        found, _ = convert_and_load_state_dict_in_model(skeleton, stored, settings)
    missing = set(found.missing_keys) - set(skeleton.all_tied_weights_keys)
    other = {name for name, *_ in found.mismatched_keys} | set(found.conversion_errors)
    ignored = skeleton._keys_to_ignore_on_load_unexpected or ()
    unexpected = {name for name in found.unexpected_keys if not any(re.search(pattern, name) for pattern in ignored)}
    return min(missing | unexpected | other, default="")


def parameter_sources(model: PreTrainedModel, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The stored tensors that make up each parameter, in their order in the file's names."""
    renamings, converters, state = _mapping(model)
    sources: dict[str, list[str]] = {}
    for name in names:
        target = name
        if name not in state:
            target, _ = rename_source_key(name, renamings, converters, model.base_model_prefix, state)
        sources.setdefault(target, []).append(name)
    return {target: tuple(found) for target, found in sources.items()}


def converted(model: PreTrainedModel, target: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters that all tensors of one entry of `parameter_sources` give."""
    if set(tensors) == {target}:
        return dict(tensors)
    renamings, converters, state = _mapping(model)
    mapping: WeightConverter | WeightRenaming | None = None
    for name, tensor in tensors.items():
        _, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, state)
        if mapping is None:
            made = {source: converter for converter in converters for source in converter.source_patterns}
            mapping = deepcopy(made[pattern]) if pattern is not None else WeightRenaming(name, target)
        # It takes what is read already as well as what is still being read, which alone its signature names.
        mapping.add_tensor(target, name, name if pattern is None else pattern, cast(Any, tensor))
    assert mapping is not None
    found: dict[str, Any] = mapping.convert(target, model=model, config=model.config)
    return {name: value[0] if isinstance(value, list) else value for name, value in found.items()}


def _entries(model: PreTrainedModel) -> list[WeightConverter | WeightRenaming]:
    """Transformers' whole mapping, in its order: every entry is of one of these kinds."""
    entries = get_model_conversion_mapping(model)
    return [entry for entry in entries if isinstance(entry, WeightConverter | WeightRenaming)]


def _mapping(model: PreTrainedModel) -> tuple[list[WeightRenaming], list[WeightConverter], dict[str, Tensor]]:
    entries = _entries(model)
    return (
        [entry for entry in entries if isinstance(entry, WeightRenaming)],
        [entry for entry in entries if isinstance(entry, WeightConverter)],
        model.state_dict(),
    )
