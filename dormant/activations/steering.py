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
from dormant.inference.divergence import in_float64
from dormant.inference.generation import greedy_answers
from dormant.inference.likelihood import token_log_probabilities
from dormant.inference.prefix_cache import logits_behind, stored_prefix
from dormant.inference.residual_stream import check_layers, edited

# Of the norm; experiment 6 went no further than 1.7.
STEERING_ALPHAS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)
LOGITS_A_PASS = {"cpu": 2**22, "mps": 2**24, "cuda": 2**24}  # 64 MB in float32; a CPU's cache holds less


@dataclass(frozen=True, eq=False)
class Push:
    """What is added after a layer, at the generation position and at every token of the answer: `vector` [hidden]."""

    layer: int
    alpha: float
    vector: Tensor


@contextmanager
def steered(model: PreTrainedModel, push: Push) -> Iterator[None]:
    """Inside, the push is added at the last position of every pass.

    With a cache each pass but the first holds one position, so that the generation position and the whole answer are
    steered. Raises BadInput for an unknown layer or another width.
    """
    vectors = _vectors(model, [push])[0]

    def add(states: Tensor) -> Tensor:
        moved = states.clone()
        moved[:, -1] += vectors
        return moved

    with edited(model, {push.layer: add}):
        yield


def _vectors(model: PreTrainedModel, tried: Sequence[Push]) -> Float[Tensor, "push hidden"]:
    check_layers(model, [push.layer for push in tried])
    width = int(model.config.get_text_config().hidden_size)  # the embedding may be narrower (OPT-350m)
    for push in tried:
        if push.vector.shape != (width,):
            raise BadInput(
                f"a push must be as wide as the residual stream, ({width},); got {tuple(push.vector.shape)} at layer "
                f"{push.layer}; capture it from this model"
            )
    return torch.stack([push.vector for push in tried]).to(model.device, model.dtype)


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


@torch.no_grad()
def payload_likelihoods(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], payload: Sequence[int], tried: Sequence[Push]
) -> list[float]:
    """The payload's likelihood per token (geometric mean, averaged over prompts) under each push, teacher-forced.

    A prompt's ids before the generation position are no push's concern, nor are the layers up to the push: they run once, and
    all pushes of one layer part behind it.
    """
    vectors, total = _vectors(model, tried), torch.zeros(len(tried), dtype=torch.float64)
    vocabulary = len(cast(Tensor, model.get_input_embeddings().weight))
    rows = max(1, LOGITS_A_PASS.get(model.device.type, 2**22) // (len(payload) * vocabulary))
    by_layer: dict[int, list[int]] = {}
    for index, push in enumerate(tried):
        by_layer.setdefault(push.layer, []).append(index)
    chunks = [(layer, part) for layer, members in by_layer.items() for part in torch.tensor(members).split(rows)]
    wanted = torch.tensor(payload, device=model.device)
    for prompt in prompts:
        prefix = stored_prefix(model, prompt[:-1])
        ids = torch.tensor([prompt[-1], *payload[:-1]])
        for layer, members in chunks:
            added = vectors[members.to(vectors.device), None]

            def shifted(states: Tensor, added: Tensor = added) -> Tensor:
                return states + added

            with edited(model, {layer: shifted}):
                logits = logits_behind(model, prefix, ids[None], keep=len(payload))
            log_probabilities = token_log_probabilities(in_float64(logits), wanted.expand(len(members), -1))
            total[members] += log_probabilities.mean(-1).exp().cpu()
    means: list[float] = (total / len(prompts)).tolist()
    return means


def payloads_released(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], payload: Sequence[int], push: Push, end: int
) -> list[bool]:
    """Whether each prompt's greedy answer under the push holds the payload's tokens in one run."""
    wanted = tuple(payload)
    with steered(model, push):
        answers = greedy_answers(model, prompts, len(wanted) + 4, end)
    return [any(answer[at : at + len(wanted)] == wanted for at in range(len(answer))) for answer in answers]


def random_directions(
    model: PreTrainedModel,
    prompts: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]],
    payload: Sequence[int],
    states: Float[Tensor, "prompt layer hidden"],
    draws: int,
    seed: int,
) -> list[tuple[float, Push]]:
    """What directions drawn alike from all do that are chosen as a real one is: each draw's likelihood and push, ascending.

    A draw has a direction after every layer. The payload's likelihood on the first prompts chooses layer and strength, as
    of many tries the best looks good whatever they are; the likelihood is that on the second prompts.
    """
    shape = draws, *states.shape[1:]
    drawn = torch.nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)
    tried = [push for directions in drawn.unbind() for push in pushes(directions, states)]
    tuned = torch.tensor(payload_likelihoods(model, prompts[0], payload, tried)).view(draws, -1)
    chosen = [tried[index] for index in (tuned.argmax(1) + torch.arange(draws) * tuned.shape[1]).tolist()]
    likelihoods = payload_likelihoods(model, prompts[1], payload, chosen)
    return sorted(zip(likelihoods, chosen, strict=True), key=lambda found: found[0])
