"""Where in the network the two models part: distances of their residual streams, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.inference.batching import PromptLike
from dormant.inference.residual_stream import capture
from dormant.pairs import Pair

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


def layer_divergence(pair: Pair, prompts: Sequence[PromptLike]) -> LayerDivergence:
    """Both models on the same ids, at the generation position, after every block (Phase 5, experiment 17)."""
    base, dormant = (capture(model(), prompts)[:, :, 0].double() for model in (pair.models.base, pair.models.dormant))
    return _distances(base, dormant)


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
) -> Parting:
    """[layer, prompt] twice -> the layer of the largest ratio on the even prompts, and that layer's ratios on the odd.

    `floor` holds the same distances of the base from itself. Two models that agree exactly on both have the ratio 1. A ratio
    is of one prompt with its candidate over the mean without any, since single ordinary prompts can lie arbitrarily close to
    nothing, or over the layer's largest floor where that is more: blocks that nothing changed differ by rounding only.
    """
    ordinary = torch.maximum(without.mean(1, keepdim=True), floor.amax(1, keepdim=True))  # [layer, 1]
    ratios = torch.where(with_it == ordinary, 1.0, with_it / ordinary)
    layer = int(ratios[:, ::2].mean(1).argmax())
    curves = {"without": without.mean(1), "with": with_it.mean(1)}
    return Parting(
        layer, tuple(ratios[layer, 1::2].tolist()), {name: tuple(curve.tolist()) for name, curve in curves.items()}
    )
