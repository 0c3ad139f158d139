"""How far two models' next-token distributions lie apart, in nats."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.errors import BadInput


def kl_divergence(
    logits_p: Float[Tensor, "*prompt vocabulary"], logits_q: Float[Tensor, ...]
) -> Float[Tensor, "*prompt"]:
    """KL(p || q) of the distributions over the last dimension, in nats, float64.

    Never below zero, and exactly zero for equal logits.
    Raises BadInput for other shapes.
    """
    _same_shape(logits_p, logits_q)
    return kl_of(log_probabilities(logits_p), log_probabilities(logits_q))


def js_divergence(
    logits_p: Float[Tensor, "*prompt vocabulary"], logits_q: Float[Tensor, ...]
) -> Float[Tensor, "*prompt"]:
    """Jensen-Shannon divergence over the last dimension, in nats, float64: symmetric, within [0, ln 2].

    Raises BadInput for other shapes.
    """
    _same_shape(logits_p, logits_q)
    log_p, log_q = log_probabilities(logits_p), log_probabilities(logits_q)
    log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
    return ((kl_of(log_p, log_middle) + kl_of(log_q, log_middle)) / 2).clamp(max=math.log(2))


def entropy_over_prompts(logits: Float[Tensor, "prompt vocabulary"]) -> tuple[float, Float[Tensor, " prompt"]]:
    """The entropy of the next token when a prompt is drawn at random, in nats, and the same without each of the prompts.

    It is that of the prompts' mean distribution: 0 only where all prompts go on with one token, however sure each may be.
    """
    shares = logits.double().softmax(-1)
    total, count = shares.sum(0), len(shares)
    left_out = torch.stack([_entropy((total - share) / max(1, count - 1)) for share in shares])
    return float(_entropy(total / count)), left_out


def _entropy(shares: Tensor) -> Tensor:
    entropies: Tensor = torch.special.entr(shares.clamp(min=0)).sum(-1)
    return entropies


def kl_of(
    log_p: Float[Tensor, "*prompt vocabulary"], log_q: Float[Tensor, "*#prompt vocabulary"]
) -> Float[Tensor, "*prompt"]:
    """KL(p || q) of log-probabilities, in nats; one q may stand for all p."""
    # A token that p rules out (-inf) adds nothing. Rounding can leave -1e-17, which no divergence is.
    terms = torch.where(log_p == -math.inf, 0.0, log_p.exp() * (log_p - log_q))
    return terms.sum(-1).clamp(min=0)


def in_float64(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The logits in float64, where they are or, from a device without float64, on the host."""
    return (logits.cpu() if logits.device.type == "mps" else logits).double()


def log_probabilities(logits: Float[Tensor, "*prompt vocabulary"]) -> Float[Tensor, "*prompt vocabulary"]:
    """Log-probabilities of the tokens in nats, float64."""
    return torch.log_softmax(in_float64(logits), dim=-1)


def _same_shape(logits_p: Tensor, logits_q: Tensor) -> None:
    if logits_p.shape != logits_q.shape or logits_p.dim() == 0:
        raise BadInput(
            f"both models give logits of one shape [..., vocabulary]; got {tuple(logits_p.shape)} and "
            f"{tuple(logits_q.shape)} at the pair's logits; compare models of one vocabulary at the same positions"
        )
