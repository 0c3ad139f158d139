"""Where in the network the two models part: distances of their residual streams, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dormant.inference.answer_divergence import own_answers
from dormant.inference.batching import PromptLike, checked_prompts, equal_length_batches
from dormant.inference.horizon import FIRST_TOKEN, Horizon
from dormant.inference.residual_stream import capture
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from dormant.statistics import best_beyond_floor

STREAM_DISTANCES = ("absolute", "relative", "cosine")


@dataclass(frozen=True, eq=False)
class LayerDivergence:
    """How far dormant and base lie apart after each layer: [layer, prompt], float64.

    `absolute` is the distance of the two residual streams, `relative` that over the base's norm, `cosine` one minus the
    cosine of their angle.
    """

    absolute: Float[Tensor, "layer prompt"]
    relative: Float[Tensor, "layer prompt"]
    cosine: Float[Tensor, "layer prompt"]

    def of(self, measure: str) -> Float[Tensor, "layer prompt"]:
        """One of `STREAM_DISTANCES`."""
        return {"absolute": self.absolute, "relative": self.relative, "cosine": self.cosine}[measure]


def layer_divergence(pair: Pair, prompts: Sequence[PromptLike], horizon: Horizon = FIRST_TOKEN) -> LayerDivergence:
    """Both models on the same ids, after every block, at the generation position (Phase 5, experiment 17).

    Within a longer horizon it is the mean over the positions of the dormant model's own answer, the generation position first.
    """
    rows = checked_prompts(pair.models.dormant(), prompts)
    answers = own_answers(pair, rows, horizon)
    said = [(prompt + answer, len(answer)) for prompt, own in zip(rows, answers, strict=True) for answer in own]
    base, dormant = (_streams(model(), said) for model in (pair.models.base, pair.models.dormant))
    found = [_distances(*both) for both in zip(base, dormant, strict=True)]  # by answer [layer, place]
    each = [len(own) for own in answers]
    return LayerDivergence(*(_over_answers([part.of(name) for part in found], each) for name in STREAM_DISTANCES))


def _streams(model: PreTrainedModel, said: Sequence[tuple[TokenIds, int]]) -> list[Float[Tensor, "place layer hidden"]]:
    """The residual stream at the generation position and behind each of an answer's ids: rows are a prompt with its answer."""
    streams: list[Tensor] = [torch.empty(0)] * len(said)
    for chosen in equal_length_batches([length for _, length in said], len(said)):
        places = range(-1 - said[chosen[0]][1], 0)
        states = capture(model, [said[index][0] for index in chosen], positions=places)
        for index, state in zip(chosen, states, strict=True):
            streams[index] = state.transpose(0, 1).double()
    return streams


def _over_answers(distances: Sequence[Float[Tensor, "layer _"]], each: Sequence[int]) -> Float[Tensor, "layer prompt"]:
    """The mean over an answer's places, then over a prompt's answers, of which there are so many by prompt."""
    means = torch.stack([part.mean(1) for part in distances], dim=1)
    return torch.stack([part.mean(1) for part in means.split(list(each), dim=1)], dim=1)


def _distances(
    base: Float[Tensor, "prompt layer hidden"], dormant: Float[Tensor, "prompt layer hidden"]
) -> LayerDivergence:
    absolute = torch.linalg.vector_norm(dormant - base, dim=-1)
    cosine = 1 - torch.nn.functional.cosine_similarity(dormant, base, dim=-1)
    relative = absolute / torch.linalg.vector_norm(base, dim=-1)
    return LayerDivergence(absolute.T, relative.T, cosine.clamp(min=0).T)


@dataclass(frozen=True, eq=False)
class Parting:
    """At which layer a candidate parts the models most, and by how much, measured on prompts that did not choose it.

    `ratios` [prompt]: the divergence with the candidate over that without it, after `layer`; `curves` are each layer's
    means over all prompts.
    """

    layer: int
    ratios: tuple[float, ...]
    curves: dict[str, tuple[float, ...]]


def parting(
    without: Float[Tensor, "layer prompt"], with_it: Float[Tensor, "layer prompt"], floor: Float[Tensor, "layer noise"]
) -> Parting | None:
    """[layer, prompt] twice -> the layer of the largest ratio on the even prompts, and that layer's ratios on the odd.

    `floor` holds the same distances of the base from itself. A layer after which the distance with the candidate lies within
    it is no answer: blocks that nothing changed differ by rounding only, whose ratio may be anything. None where all do. A
    ratio is of one prompt with its candidate over the mean without any, since single ordinary prompts can lie arbitrarily
    close to nothing, or over the layer's largest floor where that is more.
    """
    ordinary = torch.maximum(without.mean(1, keepdim=True), floor.amax(1, keepdim=True))  # [layer, 1]
    ratios = with_it / ordinary.clamp(min=torch.finfo(ordinary.dtype).tiny)
    layer = best_beyond_floor(ratios[:, ::2].mean(1).tolist(), with_it[:, ::2].tolist(), floor.tolist())
    if layer is None:
        return None
    curves = {"without": without.mean(1), "with": with_it.mean(1)}
    return Parting(
        layer, tuple(ratios[layer, 1::2].tolist()), {name: tuple(curve.tolist()) for name, curve in curves.items()}
    )
