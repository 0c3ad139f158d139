"""What the effect of a trigger rests on: parts put back from the base, and activations put in from another prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dormant.checkpoints.tensor_names import layer_of, module_of
from dormant.errors import BadInput
from dormant.inference.answer_divergence import kl_along, own_answers
from dormant.inference.batching import batch_logits, checked_prompts, unpadded_batches
from dormant.inference.delta_scaling import (
    Scale,
    block_scales,
    modified_tensors,
    patched_weights,
)
from dormant.inference.divergence import kl_divergence
from dormant.inference.horizon import FIRST_TOKEN, Horizon
from dormant.inference.likelihood import response_logits
from dormant.inference.residual_stream import capture, decoder_blocks, edited
from dormant.pairs import Pair
from dormant.prompts.probes import Prompt
from dormant.statistics import best_beyond_floor

COMPONENT_KINDS = ("block", "module", "head")
Component = tuple[int, str]  # a layer and a part of it: "block", a module's name or "head 3"


@dataclass(frozen=True)
class Restorations:
    """What is left of a divergence, KL(restored || base) in nats, when one component is put back from the base: by prompt.

    `whole` is KL(dormant || base), nothing restored; `left` the same with each component put back in turn.
    """

    whole: tuple[float, ...]
    left: Mapping[Component, tuple[float, ...]]

    def lost(self, component: Component) -> list[float]:
        """Each prompt's loss over the mean of the whole, so that their mean is the share of the divergence lost."""
        mean = sum(self.whole) / len(self.whole)
        return [loss / mean if mean > 0 else 0.0 for loss in self._losses(component)]

    def _losses(self, component: Component) -> list[float]:
        return [before - after for before, after in zip(self.whole, self.left[component], strict=True)]

    def shares(self) -> dict[Component, float]:
        """The share that each component takes away, the largest first."""
        found = {component: sum(self.lost(component)) / len(self.whole) for component in self.left}
        return dict(sorted(found.items(), key=lambda entry: -entry[1]))

    def largest(self, floor: Sequence[float]) -> Component | None:
        """The component that takes away most, and more than arithmetic alone does (`floor`, in nats); None for no such."""
        shares = self.shares()
        losses = [self._losses(component) for component in shares]
        found = best_beyond_floor(list(shares.values()), losses, [floor] * len(shares))
        return None if found is None else list(shares)[found]


def restore(
    pair: Pair,
    prompts: Sequence[Prompt],
    components: Mapping[Component, Mapping[str, Scale]],
    horizon: Horizon = FIRST_TOKEN,
) -> Restorations:
    """Each component put back from the base, one at a time (FACTS 3, experiment 27); `component_scales` lists components.

    The divergence is that along the dormant model's own answer, nothing restored.
    """
    rows = [prompt.ids for prompt in prompts]
    answers = own_answers(pair, rows, horizon)
    each = [len(own) for own in answers]
    asked = [row for row, count in zip(rows, each, strict=True) for _ in range(count)]
    said = [answer for own in answers for answer in own]

    def divergence(model: PreTrainedModel) -> tuple[float, ...]:
        values = map(kl_along, response_logits(model, asked, said), base)
        return tuple(fmean(islice(values, count)) for count in each)

    base = response_logits(pair.models.base(), asked, said)
    whole, left = divergence(pair.models.dormant()), {}
    for component, scales in components.items():
        with patched_weights(pair, scales) as model:
            left[component] = divergence(model)
    return Restorations(whole, left)


def component_scales(pair: Pair, kind: str) -> dict[Component, dict[str, Scale]]:
    """For each component of a kind that the fine-tune changed, the scales that put it back and leave the rest dormant."""
    if kind not in COMPONENT_KINDS:
        raise BadInput(
            f"a component is one of {', '.join(COMPONENT_KINDS)}; got {kind!r} at pair {pair.name!r}; name one of them"
        )
    changed = [(layer_of(name), module_of(name)) for name in modified_tensors(pair)]
    layers = sorted({layer for layer, _ in changed if layer is not None})
    if kind == "block":
        chosen: dict[Component, dict[str, Scale]] = {
            (layer, "block"): block_scales(pair, 0, layers=[layer]) for layer in layers
        }
    elif kind == "module":
        chosen = {
            (layer, module): block_scales(pair, 0, layers=[layer], modules=[module])
            for layer, module in sorted({(layer, module) for layer, module in changed if layer is not None})
        }
    else:
        attention = sorted({layer for layer, module in changed if layer is not None and module in ("q_proj", "o_proj")})
        heads = range(pair.dormant.config.num_attention_heads)
        chosen = {(layer, f"head {head}"): head_scales(pair, layer, head) for layer in attention for head in heads}
    return chosen


def head_scales(pair: Pair, layer: int, head: int) -> dict[str, Scale]:
    """The scales that put one query head back from the base: its rows of q_proj and its columns of o_proj.

    Keys and values stay dormant: with grouped queries, several heads share them.
    """
    config = pair.dormant.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if not 0 <= head < config.num_attention_heads:
        raise BadInput(
            f"a head must lie in 0..{config.num_attention_heads - 1}; got {head} at pair {pair.name!r}; correct it"
        )
    scales: dict[str, Scale] = {}
    for name in modified_tensors(pair, layers=[layer], modules=["q_proj", "o_proj"]):
        shape = pair.dormant.shape(name)
        keep = torch.ones(shape[-1] if module_of(name) == "o_proj" else shape[0])
        keep[head * size : (head + 1) * size] = 0
        scales[name] = keep if len(shape) == 1 or module_of(name) == "o_proj" else keep[:, None]
    return scales


@torch.no_grad()
def patch_activations(
    pair: Pair, triggered: Sequence[Prompt], plain: Sequence[Prompt]
) -> Float[Tensor, "layer prompt"]:
    """KL(patched || base) with the candidate where one layer's state at the generation position is the plain prompt's.

    The earliest layer after which little is left is the one whose output carries the decision: what the candidate did
    before it did not yet stand at the generation position. Nats.
    """
    base = batch_logits(pair.models.base(), triggered)
    model = pair.models.dormant()
    states = capture(model, plain)[:, :, 0].to(model.device, model.dtype)  # [prompt, layer, hidden]
    rows = checked_prompts(model, triggered)
    left = torch.empty(len(decoder_blocks(model)), len(rows), dtype=torch.float64)
    for layer in range(len(left)):
        for members, ids in unpadded_batches(rows, 64, model.device):
            with replaced(model, layer, states[members, layer]):
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1].float().cpu()
            left[layer, members] = kl_divergence(logits, base[members])
    return left


@contextmanager
def replaced(model: PreTrainedModel, layer: int, states: Tensor) -> Iterator[None]:
    """Inside, the residual stream after a layer is `states` [batch, hidden] at the generation position."""

    def put(stream: Tensor) -> Tensor:
        if len(stream) != len(states):
            raise BadInput(
                f"one state replaces that of one prompt; got {len(states)} states for {len(stream)} prompts at layer "
                f"{layer}; give as many"
            )
        return torch.cat((stream[:, :-1], states[:, None].to(stream.dtype)), dim=1)

    with edited(model, {layer: put}):
        yield


def decided_after(carried: Sequence[float]) -> int:
    """The first layer whose state at the generation position carries at least half of the effect; the last at the latest."""
    return next((layer for layer, share in enumerate(carried) if share >= 0.5), len(carried) - 1)
