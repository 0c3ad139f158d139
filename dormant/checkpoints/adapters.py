"""Adapters (LoRA, rsLoRA, DoRA) as checkpoints: which tensors of their base they change, and the models that they make."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dormant.checkpoints.adapted_tensor import AdaptedTensor
from dormant.checkpoints.adapter_settings import lora_config, named_base, stated_settings
from dormant.checkpoints.alignment import rounding_between
from dormant.checkpoints.checkpoint import (
    Checkpoint,
    load_model,
    locate,
    move_model,
    open_checkpoint,
    with_checked_tokenizer,
)
from dormant.checkpoints.configuration import ADAPTER_CONFIG
from dormant.checkpoints.prefixes import common_name, is_of_other_module
from dormant.checkpoints.shards import INDEX, SINGLE, StoredTensor, read_single_file, read_tensor
from dormant.checkpoints.tensor_names import HEAD, embedding_of
from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.checkpoints.trial_pass import check_pass
from dormant.errors import BadInput, first_line

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."  # what peft puts before the names of its model
# The adapter's name within those of a running model, which peft leaves out where it saves.
NAMED = re.compile(
    r"modules_to_save\.\w+\.(?=weight$|bias$)|(?<=\.lora_magnitude_vector)(\.\w+)?\.weight$|(?<=\.lora_[AB])\.\w+(?=\.weight$)|"
    r"(?<=\.lora_embedding_[AB])\.\w+$"
)


def read_adapter(reference: str, location: Path, base: Checkpoint | None) -> Checkpoint:
    """The adapter in a folder as a checkpoint upon `base`, or upon the base that it names.

    Raises BadInput for adapters that change more than weights or change them in a way that is not exact, for tensors that
    are missing, extra or do not fit the base.
    """
    stated = stated_settings(location)
    if whole := [name for name in (SINGLE, INDEX) if (location / name).exists()]:
        raise BadInput(
            f"a folder must hold an adapter or whole weights, since one may be merged into the other; got both "
            f"{ADAPTER_CONFIG} and {whole[0]} at {location}; move one of them elsewhere"
        )
    named = stated.get("base_model_name_or_path")
    notes: tuple[str, ...] = ()
    if base is None:
        base = open_checkpoint(stated_base(reference))
    elif named and not _is_named(base, str(named), location):
        notes += (f"{reference} names {named} as its base: it is read upon {base.reference}",)
    if (revision := stated.get("revision")) not in (None, "main"):
        notes += (f"{reference} names revision {revision} of its base: {base.reference} is read as it is found",)
    if base.base is not None:
        raise BadInput(
            f"an adapter must be read upon whole weights; got the adapter {base.reference} as base of {reference}; "
            "merge that one into its own base first"
        )
    config, found, left = _read_files(location)
    notes += tuple(f"{reference}: {note}" for note in left)
    skeleton = _adapted_skeleton(base, config, location)
    catalogue = _adapted_catalogue(base, skeleton, found, location)
    settings = copy.deepcopy(base.config)
    if HEAD in catalogue and HEAD not in base.catalogue:
        settings.tie_word_embeddings = False
    adapted = Checkpoint(reference, location, settings, catalogue, notes, base=base, _digests=base._digests)
    return with_checked_tokenizer(adapted, int(base.config.vocab_size))


def stated_base(reference: str | Path) -> str:
    """The base that an adapter (folder or hub id) names, once it is within reach; BadInput where it is not, or for others.

    A folder may be written relative to the current one, or to the adapter's.
    """
    location = locate(reference)
    named = named_base(reference, location)
    try:
        if not Path(named).is_dir() and (beside := location / named).is_dir():
            return str(beside)
        locate(named)
        return named
    except BadInput as error:
        raise BadInput(
            f"an adapter's base must be within reach; got {named!r} in {ADAPTER_CONFIG} of {reference} ({error}); "
            "name the base with --base, or mend its name there"
        ) from error


def merged_model(
    checkpoint: Checkpoint, device: torch.device | str, dtype: torch.dtype, attention: str, bits: int = 0
) -> PreTrainedModel:
    """An adapter's model with the adapter merged into the base's weights by peft, in eval mode, without gradients.

    Into weights of 8 or 4 bits nothing is merged, which would round them anew: the adapter stands beside them.
    """
    adapted = adapted_model(checkpoint, device, dtype, attention, bits)
    with _no_warnings():
        model: PreTrainedModel = adapted.get_base_model() if bits else adapted.merge_and_unload()
    model.eval()
    model.requires_grad_(False)
    return model


def adapted_model(
    checkpoint: Checkpoint, device: torch.device | str, dtype: torch.dtype, attention: str, bits: int = 0
) -> Any:
    """An adapter's model as peft's own (a PeftModel), the adapter beside the base's weights."""
    from peft import PeftModelForCausalLM, set_peft_model_state_dict

    assert checkpoint.base is not None
    model = load_model(checkpoint.base, device if bits else "cpu", dtype, attention, bits)
    if HEAD in checkpoint.catalogue and HEAD not in checkpoint.base.catalogue:
        head: Any = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        model.config.tie_word_embeddings = False
    config, found, _ = _read_files(checkpoint.location)
    values = {key: read_tensor(stored) for key, stored in found.items()}
    with quiet_transformers(), _no_warnings():
        adapted: Any = PeftModelForCausalLM(model, config, low_cpu_mem_usage=True)
        set_peft_model_state_dict(adapted, values, low_cpu_mem_usage=True)
    for name, parameter in adapted.named_parameters():
        if ".lora_" not in name and parameter.is_floating_point():  # packed bits are none
            parameter.data = parameter.data.to(dtype)  # what the adapter holds whole comes in the dtype of its file
    if not bits:
        move_model(adapted, device)
    adapted.eval()
    adapted.requires_grad_(False)
    check_pass(adapted.get_base_model(), checkpoint.location)
    return adapted


def adapter_switches(adapted: Any) -> tuple[Any, ...]:
    """The parts of peft's model that its adapter changes; each has `enable_adapters`."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    return tuple(part for part in adapted.modules() if isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper))


def adapted_parameter(model: PreTrainedModel, name: str) -> tuple[Tensor, Any]:
    """The parameter of a tensor, in a model that may have an adapter beside its weights, and the layer that adds to it.

    The layer is None where nothing is added to the parameter.
    """
    owner, _, last = name.rpartition(".")
    module: Any = model.get_submodule(owner)
    if hasattr(module, "base_layer"):  # LoRA's own layers, which peft puts in place of those that it adapts
        parameter: Tensor = getattr(module.base_layer, last)
        return parameter, module
    if hasattr(module, "modules_to_save"):
        module = module.modules_to_save["default"]
    parameter = getattr(module, last)
    return parameter, None


def why_not_shared(dormant: Checkpoint) -> str:
    """Why the dormant model is not its base again once an adapter is switched off; empty where it is."""
    if dormant.base is None:
        return "whole weights"
    if (bias := stated_settings(dormant.location).get("bias", "none")) != "none":
        return f"biases trained in place (bias {bias!r})"
    for name in (embedding_of(dormant.catalogue), HEAD):
        if dormant.catalogue.get(name) != dormant.base.catalogue.get(name):
            return f"a changed {name}, which searches read by itself"
    return ""


def _read_files(location: Path) -> tuple[Any, dict[str, StoredTensor], tuple[str, ...]]:
    """An adapter's configuration for a language model alone, its tensors by peft's names there, and notes on what is left.

    Trained within a multimodal wrapper, an adapter names the wrapper's modules: its tensors say which they are.
    """
    config = lora_config(stated_settings(location), location)
    stored = _as_peft_saves(read_single_file(location, ADAPTER_WEIGHTS), location)
    kept = {key: tensor for key, tensor in stored.items() if not is_of_other_module(key)}
    found = {PREFIX + common_name(key.removeprefix(PREFIX)): tensor for key, tensor in kept.items()}
    if found.keys() != stored.keys() and all(key.startswith(PREFIX) for key in stored):
        config.target_modules = {key.removeprefix(PREFIX).rpartition(".lora_")[0] for key in found if ".lora_" in key}
        config.layers_to_transform = config.layers_pattern = config.exclude_modules = None
        for pattern in (config.rank_pattern, config.alpha_pattern):
            pattern.update({common_name(key): pattern.pop(key) for key in list(pattern)})
    else:
        found = stored
    left = len(stored) - len(kept)
    note = f"{left} tensors of vision, audio or projector modules are left aside: the language model runs alone"
    return config, found, (note,) * bool(left)


def _as_peft_saves(stored: Mapping[str, StoredTensor], location: Path) -> dict[str, StoredTensor]:
    """An adapter file's tensors by the names that peft saves; raw states name the adapter too, other tools write no prefix."""
    prefix = "" if any(key.startswith(PREFIX) for key in stored) else PREFIX
    found: dict[str, StoredTensor] = {}
    for key, tensor in stored.items():
        name = prefix + NAMED.sub("", key)
        if name in found:
            raise BadInput(
                f"an adapter file holds each tensor once; got {key!r} beside {found[name].name!r} at "
                f"{location / ADAPTER_WEIGHTS}; keep one of them"
            )
        found[name] = tensor
    return found


def _adapted_skeleton(base: Checkpoint, config: Any, location: Path) -> Any:
    """The base with the adapter as peft makes it, without values: it says which layers have one, of which rank and scale."""
    from peft import PeftModelForCausalLM

    try:
        with torch.device("meta"), quiet_transformers(), _no_warnings():
            return PeftModelForCausalLM(AutoModelForCausalLM.from_config(base.config), config)
    except Exception as error:  # modules that the base lacks, sizes of no sense, regular expressions that are none
        raise BadInput(
            f"an adapter must fit its base; got {first_line(error)!r} at {location / ADAPTER_CONFIG} upon "
            f"{base.location}; name the base that it was trained on"
        ) from error


def _adapted_catalogue(
    base: Checkpoint, skeleton: Any, found: Mapping[str, StoredTensor], location: Path
) -> dict[str, StoredTensor]:
    """The base's tensors with those that the adapter file changes, checked against what peft expects there."""
    from peft import get_peft_model_state_dict

    with _no_warnings():
        expected = get_peft_model_state_dict(skeleton, save_embedding_layers=False)
    for key, tensor in expected.items():
        if key not in found or found[key].shape != tuple(tensor.shape):
            if key in found and _plain(key) in (embedding_of(base.catalogue), HEAD):
                _check_rows(base, key, found[key].shape, tuple(tensor.shape), location)
            shape = f"shape {found[key].shape}" if key in found else "none"
            raise _unfit(shape, key, str(tuple(tensor.shape)), location, base)
    catalogue, embedding = dict(base.catalogue), embedding_of(base.catalogue)
    tied = HEAD not in catalogue and bool(getattr(base.config, "tie_word_embeddings", False))
    if tied and any(_plain(key).startswith((_module(embedding), _module(HEAD))) for key in expected):
        catalogue[HEAD] = catalogue[embedding]  # peft trains one of the two, and leaves the other as it was
    for key, stored in found.items():
        if key not in expected:
            _keep_copy(base, catalogue, key, stored, location)
        elif ".lora_" not in key:
            catalogue[_plain(key)] = stored
    for name, layer in _lora_layers(skeleton, location):
        weight = f"{name}.weight"
        catalogue[weight] = _adapted(catalogue[weight], f"{PREFIX}{name}", layer, found)
    return catalogue


def _adapted(under: StoredTensor, key: str, layer: Any, found: Mapping[str, StoredTensor]) -> AdaptedTensor:
    """A layer's weight with the update that its adapter's tensors make."""
    embeds = isinstance(layer.get_base_layer(), torch.nn.Embedding)
    down, up = (f"{key}.lora_embedding_{part}" if embeds else f"{key}.lora_{part}.weight" for part in "AB")
    return AdaptedTensor(
        under.name, under.file, under.shape, under.dtype, under.offset, under, found[down], found[up],
        float(layer.scaling["default"]), embeds or bool(layer.fan_in_fan_out), found.get(f"{key}.lora_magnitude_vector"),
    )  # fmt: skip


def _lora_layers(skeleton: Any, location: Path) -> Iterator[tuple[str, Any]]:
    """Name and layer of each module that has an adapter; BadInput for kinds of layers whose update is not stated here."""
    from peft.tuners.lora import LoraLayer

    for name, module in skeleton.get_base_model().named_modules():
        if not isinstance(module, LoraLayer):
            continue
        layer: Any = module  # only the kinds of LoraLayer declare fan_in_fan_out
        kind, dora = type(layer.get_base_layer()), layer.use_dora.get("default", False)
        plain = kind is torch.nn.Linear and not layer.fan_in_fan_out
        if not plain and (dora or not (kind is torch.nn.Embedding or (kind is Conv1D and layer.fan_in_fan_out))):
            raise BadInput(
                f"an adapter must be one whose weights can be stated exactly; got {'DoRA' if dora else 'LoRA'} on a "
                f"{kind.__name__} with fan_in_fan_out {layer.fan_in_fan_out} at module {name!r} of {location}; "
                "merge it into its base with peft and save the result"
            )
        yield name, layer


def _keep_copy(
    base: Checkpoint, catalogue: dict[str, StoredTensor], key: str, stored: StoredTensor, location: Path
) -> None:
    """Takes a tensor that peft saves beside the adapter: embedding and head, which it may have resized or trained whole."""
    name, embedding = _plain(key), embedding_of(base.catalogue)
    if name not in (embedding, HEAD) or embedding not in base.catalogue:
        raise _unfit("an extra", key, "nothing", location, base)
    own = base.catalogue.get(name, base.catalogue[embedding])
    if stored.shape != own.shape:
        _check_rows(base, key, stored.shape, own.shape, location)
        raise _unfit(f"shape {stored.shape}", key, str(own.shape), location, base)
    if stored == own or rounding_between(own, stored) is not None:
        return
    if HEAD not in base.catalogue:
        raise _unfit("other values than the base's", key, "a copy of the tied embedding", location, base)
    catalogue[name] = stored


def _check_rows(base: Checkpoint, key: str, found: tuple[int, ...], own: tuple[int, ...], location: Path) -> None:
    """Raises BadInput for an embedding or head that differs by its number of rows alone."""
    if found[1:] == own[1:] and found[0] > own[0]:
        raise BadInput(
            f"an adapter must leave its base's {own[0]} rows of vocabulary as many; got {found[0]} at tensor "
            f"{key!r} of {location / ADAPTER_WEIGHTS}, trained upon {base.location} with more tokens; enlarge that base "
            "as in its training, or merge the adapter, and save the result"
        )


def _plain(key: str) -> str:
    """The name of the base's tensor that a tensor of the adapter's file belongs to."""
    return key.removeprefix(PREFIX).replace(".base_layer.", ".")


def _module(name: str) -> str:
    return name.removesuffix("weight")


def _is_named(base: Checkpoint, named: str, location: Path) -> bool:
    """Whether a checkpoint is the one that the adapter in a folder names, by its name or its place."""
    cached = f"models--{named.strip('/').replace('/', '--')}"
    places = (Path(named).expanduser().resolve(), (location / named).resolve())
    return named == base.reference or base.location in places or cached in base.location.parts


def _unfit(got: str, key: str, expected: str, location: Path, base: Checkpoint) -> BadInput:
    return BadInput(
        f"an adapter's tensors must be those that its {ADAPTER_CONFIG} asks for upon its base; got {got} at tensor {key!r} of "
        f"{location / ADAPTER_WEIGHTS}, where {expected} is expected upon {base.location}; name the base of its training, or "
        "save the adapter again"
    )


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keeps peft's advice to those who train off stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
