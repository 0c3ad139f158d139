"""Layer 0's detector as something to search for: no model is loaded, and its slope reaches both embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.inference.objectives import ROLES
from dormant.layer0 import Layer0, Layer0Pair, attention_logits, score


class Detector:
    """The largest |delta logit| of layer 0's attention over heads and causal places (experiments 15 and 16), in logits.

    It answers as an `Evaluator` does, but knows no probes: attention logits between a candidate's tokens depend on
    their distance only, so that one row stands for all probes. An empty candidate has no places and scores 0. No
    candidate is scored twice; `evaluations` counts the distinct ones.
    """

    unit = "logits"
    roles: tuple[str, ...] = ROLES

    def __init__(self, pair: Layer0Pair) -> None:
        self.pair = pair
        self.vocabulary = pair.base.embedding.shape[0]
        self._visited: dict[tuple[int, ...], float] = {}

    @property
    def evaluations(self) -> int:
        """How many distinct candidates have been scored."""
        return len(self._visited)

    def evaluate(self, candidates: Tensor, incumbent: Sequence[int] = ()) -> Tensor:
        """candidates [n, length] -> [n], float64, on the CPU; where they come from saves nothing here."""
        keys = [tuple(row) for row in candidates.tolist()]
        fresh = list(dict.fromkeys(key for key in keys if key not in self._visited))
        if fresh:
            self._visited.update(zip(fresh, score(self.pair, torch.tensor(fresh)).tolist(), strict=True))
        return torch.tensor([self._visited[key] for key in keys], dtype=torch.float64)

    def per_probe(self, candidates: Tensor) -> Tensor:
        """candidates [n, length] -> [1, n]: one row, as the score does not depend on the probe."""
        return self.evaluate(candidates)[None]

    def forget(self) -> None:
        """Empties the memory of scored candidates."""
        self._visited.clear()

    def empty(self) -> Tensor:
        """The empty row's score, 0: [1]."""
        return torch.zeros(1, dtype=torch.float64)

    def gradient(self, ids: Tensor) -> Tensor:
        """Slope towards each token's one-hot vector, through both embeddings: ids [length] -> [length, vocabulary]."""
        rows = {role: self.table(role)[ids.to(self.table(role).device)][None] for role in ROLES}
        _, slopes = self.value_and_slopes(rows)
        pulled = [slopes[role][0] @ self.table(role).to(slopes[role].dtype).T for role in ROLES]
        return torch.stack(pulled).sum(0).float().cpu()

    def table(self, role: str) -> Tensor:
        """A model's input embeddings, as stored: [vocabulary, hidden]."""
        return self._layer0(role).embedding

    def value_and_slopes(self, rows: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Score and slope of input embeddings: rows by role [n, length, hidden] -> [n], and slopes by role like rows."""
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


def soft_logits(layer0: Layer0, rows: Tensor) -> Tensor:
    """Attention logits of input embeddings that need be no token's, differentiable.

    rows [n, length, hidden] -> [n, heads, query, key], float32; at tokens' own rows they are those of `attention_logits`.
    """
    count, length, _ = rows.shape
    as_table = replace(layer0, embedding=rows.flatten(0, 1))  # a vocabulary in which every row is a token of its own
    return attention_logits(as_table, torch.arange(count * length, device=rows.device).view(count, length))
