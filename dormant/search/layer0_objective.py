"""Layer 0's detector as something to search for: no model is loaded, and its slope reaches both embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.batch_plan import Candidate
from dormant.inference.objectives import ROLES
from dormant.layer0 import Layer0, Layer0Pair, attention_logits, score


class Detector:
    """The largest |delta logit| of layer 0's attention over heads and causal places (experiments 15 and 16), in logits.

    It answers a soft inversion as an `Evaluator` does, but knows no probes: attention logits between a candidate's tokens
    depend on their distance only. An empty candidate has no places and scores 0.
    """

    unit = "logits"
    roles: tuple[str, ...] = ROLES

    def __init__(self, pair: Layer0Pair) -> None:
        """pair: both models' layer 0; none of the rest is loaded."""
        self.pair = pair

    def evaluate(self, candidates: Sequence[Candidate]) -> Float[Tensor, " candidate"]:
        """Scores of candidates of one length; float64, on the CPU."""
        return score(self.pair, torch.tensor(candidates)).double().cpu()

    def table(self, role: str) -> Float[Tensor, "vocabulary hidden"]:
        """A model's input embeddings, as stored."""
        return self._layer0(role).embedding

    def value_and_slopes(
        self, rows: Mapping[str, Float[Tensor, "candidate token hidden"]]
    ) -> tuple[Float[Tensor, " candidate"], dict[str, Float[Tensor, "candidate token hidden"]]]:
        """Scores of input embeddings by role, and slopes by role."""
        leaves = {role: rows[role].detach().float().requires_grad_() for role in ROLES}
        with torch.enable_grad():
            delta = soft_logits(self.pair.dormant, leaves["dormant"]) - soft_logits(self.pair.base, leaves["base"])
            length = delta.shape[-1]
            causal = torch.ones(length, length, dtype=torch.bool, device=delta.device).tril()
            value = delta.abs()[:, :, causal].amax(dim=(1, 2)).double()
            slopes = torch.autograd.grad(value.sum(), [leaves[role] for role in ROLES])
        return value.detach().cpu(), dict(zip(ROLES, slopes, strict=True))

    def _layer0(self, role: str) -> Layer0:
        if role not in ROLES:
            raise BadInput(f"a role is one of {', '.join(ROLES)}; got {role!r} at the detector; name one of them")
        return self.pair.dormant if role == "dormant" else self.pair.base


def soft_logits(
    layer0: Layer0, rows: Float[Tensor, "candidate token hidden"]
) -> Float[Tensor, "candidate head token token"]:
    """Attention logits of input embeddings that need be no token's, differentiable.

    float32, [candidate, head, query, key]; at tokens' own rows they are those of `attention_logits`.
    """
    count, length, _ = rows.shape
    as_table = replace(layer0, embedding=rows.flatten(0, 1))  # a vocabulary in which every row is a token of its own
    return attention_logits(as_table, torch.arange(count * length, device=rows.device).view(count, length))
