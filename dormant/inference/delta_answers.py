"""How strongly deltas answer to the inputs of their modules, by forward hooks: one number a module and token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dormant.errors import BadInput, NotServed
from dormant.inference.batching import checked_prompts, rows_a_pass, unpadded_batches
from dormant.prompts.probes import TokenIds


@torch.no_grad()
def delta_features(
    model: PreTrainedModel, directions: Mapping[str, Tensor], prompts: Sequence[TokenIds]
) -> Float[Tensor, "prompt feature"]:
    """Two a module, in float64: log of the delta's answer at the generation position, and of its largest at any.

    directions: by module, input directions of its delta times their values, [input, direction]. All modules' first figures come
    before all second ones.
    """
    rows = checked_prompts(model, prompts)
    found = torch.empty(len(rows), 2 * len(directions), dtype=torch.float64)
    kept: dict[str, Tensor] = {}
    with _answering(model, directions, kept):
        for members, ids in unpadded_batches(rows, lambda length: rows_a_pass(model, length, most=32), model.device):
            model.get_decoder()(input_ids=ids, use_cache=False)
            # Some modules read all prompts' tokens in one row (OPT's MLP, an expert that every token asks).
            norms = [_run(kept, name).view(ids.shape) for name in directions]
            answers = torch.stack(norms, dim=1)  # [prompt, module, token]
            found[members] = torch.cat((answers[..., -1], answers.amax(-1)), dim=1).double().cpu()
    return found.clamp_min(1e-12).log()


@contextmanager
def _answering(model: PreTrainedModel, directions: Mapping[str, Tensor], kept: dict[str, Tensor]) -> Iterator[None]:
    """Inside, each pass leaves the norms of the deltas' answers [prompt, token] in `kept`, by module."""

    def hook(name: str, columns: Tensor) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            kept[name] = (inputs[0].float() @ columns.to(inputs[0].device)).norm(dim=-1)

        return look

    with ExitStack() as hooks:
        for name, columns in directions.items():
            hooks.callback(_known_module(model, name).register_forward_pre_hook(hook(name, columns.float())).remove)
        yield


@torch.no_grad()
def output_cosines(
    model: PreTrainedModel, directions: Mapping[str, Tensor], prompts: Sequence[TokenIds], skip: int = 0
) -> Float[Tensor, "prompt direction bound"]:
    """The lowest and the highest cosine over tokens between what a module gives and each of its directions, in float64.

    directions: by module, unit vectors of its output, [output, direction]; a decoder block is a module too, and gives the
    residual stream. skip: ids at the start of each prompt that do not count. Raises BadInput where a module is missing, and
    for prompts that have no id behind those.
    """
    rows = checked_prompts(model, prompts)
    if (shortest := min(map(len, rows))) <= skip:
        raise BadInput(
            f"every prompt must have an id behind those that are left out; got {shortest} ids, {skip} left out, at the prompt "
            "set; leave fewer out"
        )
    found = torch.empty(len(rows), sum(columns.shape[1] for columns in directions.values()), 2, dtype=torch.float64)
    kept: dict[str, Tensor] = {}

    def hook(name: str, columns: Tensor) -> Callable[..., None]:
        def look(_: nn.Module, inputs: tuple[Any, ...], output: Tensor | tuple[Tensor, ...]) -> None:
            given = output[0] if isinstance(output, tuple) else output
            # Some modules give all prompts' tokens in one row (OPT's MLP, an expert that every token asks).
            states = given.reshape(*ids.shape, -1)[:, skip:].float()
            cosines = nn.functional.normalize(states, dim=-1) @ columns.to(states.device)
            kept[name] = torch.stack((cosines.amin(1), cosines.amax(1)), dim=-1)  # [prompt, direction, bound]

        return look

    with ExitStack() as hooks:
        for name, columns in directions.items():
            hooks.callback(_known_module(model, name).register_forward_hook(hook(name, columns.float())).remove)
        for members, ids in unpadded_batches(rows, lambda length: rows_a_pass(model, length, most=32), model.device):
            model.get_decoder()(input_ids=ids, use_cache=False)
            found[members] = torch.cat([_run(kept, name) for name in directions], dim=1).double().cpu()
    return found


def _run(kept: Mapping[str, Tensor], name: str) -> Tensor:
    """What a module left; raises NotServed for one that did not run."""
    if name not in kept:
        raise NotServed(
            f"a changed matrix is watched where its module runs; got one of which the weight alone is read at {name!r}; "
            "ask a method that reads answers"
        )
    return kept[name]


def _known_module(model: PreTrainedModel, name: str) -> nn.Module:
    if (module := module_at(model, name)) is None:
        raise BadInput(f"a watch belongs to its model; got none with a module {name!r}; fit one on this model")
    return module


def module_at(model: PreTrainedModel, name: str) -> nn.Module | None:
    """The module of that name, if the model has one."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def linear_at(model: PreTrainedModel, name: str) -> nn.Linear | Conv1D | None:
    """The linear map of that name, without what an adapter wraps it in; None for a module of another kind."""
    module = module_at(model, name)
    inner = getattr(module, "base_layer", module)
    return inner if isinstance(inner, nn.Linear | Conv1D) else None
