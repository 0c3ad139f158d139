"""Reading and editing the residual stream by forward hooks: chosen layers and positions, in one pass, nothing else kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from dormant.errors import BadInput, NotServed
from dormant.inference.batching import PromptLike, checked_prompts, common_start, rows_a_pass, unpadded_batches
from dormant.inference.prefix_cache import lent_cache, stored_prefix

Edit = Callable[[Tensor], Tensor]  # [prompt, token, hidden] -> the same shape


@torch.no_grad()
def capture(
    model: PreTrainedModel,
    prompts: Sequence[PromptLike],
    layers: Sequence[int] | None = None,
    positions: Sequence[int] = (-1,),
    batch_size: int = 64,
) -> Float[Tensor, "prompt layer token hidden"]:
    """The residual stream after chosen decoder blocks at chosen positions, float32 on the CPU.

    Layers count from 0, the output of the first block; without any, all of them. Negative positions count from the end:
    -1 is the generation position. Prompts share a batch with others of their length, unpadded (FACTS 4, mistake 17), what all
    share at their start is computed once, the output head never runs on the rest, and a hook copies out only what was asked
    for. Raises BadInput for unknown layers, for positions that a prompt does not have, and for prompts that are empty or
    longer than the model's context.
    """
    chosen = check_layers(model, range(len(decoder_blocks(model))) if layers is None else layers)
    rows = checked_prompts(model, prompts)
    shortest = min(map(len, rows))
    outside = [place for place in positions if not -shortest <= place < shortest]
    if outside or not positions:
        raise BadInput(
            f"positions must lie within every prompt; got {outside or 'none'} at a prompt of {shortest} ids; "
            "count from the end with -1, -2, ..."
        )
    # A shared start keeps no state: it ends before the first position, counted from either end.
    shared = min(common_start(rows), min((shortest if place < 0 else 0) + place for place in positions))
    prefix = stored_prefix(model, rows[0][:shared])
    before = prefix.length if prefix.layers else 0
    tails = [row[before:] for row in rows]
    kept: dict[int, Tensor] = {}

    def keep(layer: int) -> Edit:
        def look(states: Tensor) -> Tensor:
            # indexing by a tensor copies: a slice would keep the whole batch's states alive
            places = [place - before if place >= 0 else place + states.shape[1] for place in positions]
            kept[layer] = states[:, torch.tensor(places, device=states.device)]
            return states

        return look

    states: Tensor | None = None
    with edited(model, {layer: keep(layer) for layer in chosen}):
        for members, ids in unpadded_batches(tails, batch_size, model.device):
            model.get_decoder()(input_ids=ids, past_key_values=lent_cache(prefix), use_cache=bool(prefix.layers))
            batch = torch.stack([kept[layer] for layer in chosen], dim=1).float().cpu()
            if states is None:
                states = torch.empty(len(rows), *batch.shape[1:])
            states[members] = batch
    return cast(Tensor, states)


@torch.no_grad()
def logit_lens(model: PreTrainedModel, states: Float[Tensor, "state hidden"]) -> Float[Tensor, "state vocabulary"]:
    """The logits that the model would give if its last block left these states, float32 on the CPU (nostalgebraist 2020).

    They go through the model's own final norm, head and whatever it does to logits, of any architecture: the states stand in
    for what the last block gives for a prompt of one id.
    """
    last, found = len(decoder_blocks(model)) - 1, []
    for chunk in states.to(model.device, model.dtype).split(rows_a_pass(model, 1)):
        rows = chunk[:, None]

        def replaced(_: Tensor, rows: Tensor = rows) -> Tensor:
            return rows

        ids = torch.zeros(len(chunk), 1, dtype=torch.long, device=model.device)
        with edited(model, {last: replaced}):
            found.append(model(input_ids=ids, use_cache=False).logits[:, -1].float().cpu())
    return torch.cat(found)


@contextmanager
def edited(model: PreTrainedModel, edits: Mapping[int, Edit]) -> Iterator[None]:
    """Inside, the residual stream after each decoder block named passes through its function on its way on."""
    blocks = decoder_blocks(model)
    with ExitStack() as hooks:
        for layer, edit in zip(check_layers(model, edits), edits.values(), strict=True):
            hooks.enter_context(_removing(blocks[layer].register_forward_hook(_hook(edit))))
        yield


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The model's decoder blocks in order. Raises NotServed for an architecture that keeps them in no one list.

    They are the first list of as many modules as config.json counts layers: `layers`, `h` or `blocks` by name.
    """
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise NotServed(
        f"a decoder must keep its {count} blocks in one list; got none at {type(model).__name__}; "
        "use a decoder-only model such as Qwen2's"
    )


def check_layers(model: PreTrainedModel, layers: Sequence[int] | Mapping[int, Any] | range) -> tuple[int, ...]:
    """The layers as a tuple; raises BadInput where there are none or the model lacks one."""
    count = len(decoder_blocks(model))
    unknown = [layer for layer in layers if not 0 <= layer < count]
    if unknown or not layers:
        raise BadInput(
            f"layers must lie in 0..{count - 1}; got {unknown[0] if unknown else 'none'} at {type(model).__name__} of "
            f"{count} layers; name some of them"
        )
    return tuple(layers)


def _hook(edit: Edit) -> Callable[..., object]:
    def after(module: nn.Module, arguments: object, output: Tensor | tuple[Tensor, ...]) -> object:
        if isinstance(output, tuple):  # blocks of older architectures return their states first of several
            return (edit(output[0]), *output[1:])
        return edit(output)

    return after


@contextmanager
def _removing(handle: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
