"""A module's bias delta beside its weight delta: as norms, and as what each adds to a token's projection (experiment 7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.weights.decomposition import delta_matrix
from dormant.weights.delta_report import DeltaReport
from dormant.weights.token_lens import bias_delta, name_of, token_inputs


@dataclass(frozen=True)
class BiasAndWeight:
    """Sizes of a module's bias delta and weight delta by layer: [layer] each."""

    bias: tuple[float, ...]
    weight: tuple[float, ...]

    def share(self, layers: int | None = None) -> float:
        """The bias' part of the squares' sum over the first `layers` (all of them); 0 where nothing was changed."""
        bias, weight = (math.fsum(value**2 for value in sizes[:layers]) for sizes in (self.bias, self.weight))
        return bias / (bias + weight) if bias + weight else 0.0

    def sizes(self, layers: int | None = None) -> tuple[float, float]:
        """Bias and weight over the first `layers` (all of them): roots of the squares' sums."""
        bias, weight = (
            math.sqrt(math.fsum(value**2 for value in sizes[:layers])) for sizes in (self.bias, self.weight)
        )
        return bias, weight


def delta_norms(report: DeltaReport, module: str) -> BiasAndWeight:
    """Frobenius norms of the module's bias delta and weight delta in every layer; a bias that is not there counts 0.

    Taken from energies: published norms in float32 under-report (FACTS 1).
    """
    biases = report.layers(module, "bias")
    return BiasAndWeight(
        tuple(math.sqrt(bias.energy) if bias else 0.0 for bias in biases),
        tuple(math.sqrt(weight.energy) for weight in report.every_layer(module)),
    )


def delta_responses(base: Checkpoint, dormant: Checkpoint, module: str, layer: int = 0) -> BiasAndWeight:
    """What one layer's two deltas add to a token's projection: norm(db), and the root mean square over the vocabulary of
    norm(dW x), with x as the layer sees the token in the dormant model. Norms of deltas alone compare a vector with a
    matrix that has yet to be multiplied.
    """
    bias = bias_delta(base, dormant, layer, module)
    delta = delta_matrix(base, dormant, name_of(layer, module))
    squares = token_inputs(dormant, layer, module).project(delta.T).double().square().sum(-1)
    return BiasAndWeight((0.0 if bias is None else float(bias.double().norm()),), (float(torch.sqrt(squares.mean())),))
