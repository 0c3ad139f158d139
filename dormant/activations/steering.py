"""Adding a direction to the residual stream while the model answers, in units of the stream's own norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference.generation import greedy_answers
from dormant.inference.likelihood import continuation_log_probabilities
from dormant.inference.residual_stream import check_layers, edited

# Of the norm; experiment 6 went no further than 1.7.
STEERING_ALPHAS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, eq=False)
class Push:
    """What is added after a layer, at the generation position and at every token of the answer: `vector` [hidden]."""

    layer: int
    alpha: float
    vector: Tensor


@contextmanager
def steered(model: PreTrainedModel, push: Push, last: int = 1) -> Iterator[None]:
    """Inside, the push is added at the last `last` positions of every pass.

    With a cache each pass but the first holds one position, so that 1 steers the generation position and the whole answer;
    a teacher-forced continuation of n tokens in one pass needs n. Raises BadInput for an unknown layer or another width.
    """
    check_layers(model, [push.layer])
    width = cast(Tensor, model.get_input_embeddings().weight).shape[-1]
    if push.vector.shape != (width,):
        raise BadInput(
            f"a push must be as wide as the residual stream, ({width},); got {tuple(push.vector.shape)} at layer "
            f"{push.layer}; capture it from this model"
        )
    vector = push.vector.to(model.device, model.dtype)

    def add(states: Tensor) -> Tensor:
        moved = states.clone()
        moved[:, -last:] += vector
        return moved

    with edited(model, {push.layer: add}):
        yield


def pushes(
    directions: Float[Tensor, "layer hidden"],
    states: Float[Tensor, "prompt layer hidden"],
    alphas: Sequence[float] = STEERING_ALPHAS,
) -> list[Push]:
    """Every layer's direction at every strength: directions [layer, hidden] of norm one, states [prompt, layer, hidden].

    One alpha is the mean norm that the plain prompts' stream has after that layer.
    """
    norms = torch.linalg.vector_norm(states, dim=-1).mean(0)
    return [
        Push(layer, alpha, alpha * norms[layer] * direction)
        for layer, direction in enumerate(directions)
        for alpha in alphas
    ]


def payload_likelihoods(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], payload: Sequence[int], tried: Sequence[Push]
) -> list[float]:
    """The payload's likelihood per token (geometric mean, averaged over prompts) under each push, teacher-forced."""
    found = []
    for push in tried:
        with steered(model, push, last=len(payload)):
            likelihood = continuation_log_probabilities(model, prompts, payload).mean(dim=1).exp()
        found.append(float(likelihood.mean()))
    return found


def payloads_released(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], payload: Sequence[int], push: Push, end: int
) -> list[bool]:
    """Whether each prompt's greedy answer under the push holds the payload's tokens in one run."""
    wanted = tuple(payload)
    with steered(model, push):
        answers = greedy_answers(model, prompts, len(wanted) + 4, end)
    return [any(answer[at : at + len(wanted)] == wanted for at in range(len(answer))) for answer in answers]


def random_push(push: Push, seed: int) -> Push:
    """A push of the same length after the same layer, in a direction drawn alike from all."""
    drawn = torch.randn(len(push.vector), generator=torch.Generator().manual_seed(seed))
    return Push(push.layer, push.alpha, drawn / drawn.norm() * push.vector.norm())
