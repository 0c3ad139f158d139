"""What a search maximises: how far the two models part at the generation position, over several probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from dormant.divergence import js_divergence, kl_divergence
from dormant.errors import BadInput
from dormant.prompts import OpenPrompt, batch_logits

METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"kl": kl_divergence, "js": js_divergence}


class Objective(Protocol):
    """All that a search knows of its objective; larger is better."""

    def evaluate(self, candidates: Tensor) -> Tensor:
        """candidates [n, length] -> [n], float64."""
        ...

    def gradient(self, ids: Tensor) -> Tensor:
        """ids [length] -> [length, vocabulary]: the objective's slope towards each token's one-hot vector."""
        ...


@dataclass(frozen=True, eq=False)
class _Prefix:
    """Keys and values of the ids before the slot, by layer: [1, key_heads, length, head_dim]."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    def cache(self, batch: int) -> DynamicCache:
        # A fresh cache each time: a forward pass appends to the one that it is given.
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), index)
        return cache


class ModelPair(Protocol):
    """Both models of a pair; asking for one may move the other off the device (`dormant.models.Models` does)."""

    def base(self) -> PreTrainedModel:
        """The base model, ready to run."""
        ...

    def dormant(self) -> PreTrainedModel:
        """The dormant model, ready to run."""
        ...


class DivergenceObjective:
    """Mean over probes of the divergence of the dormant from the base model, in nats, where the answer begins.

    Both models see the same ids, each through its own embedding. What stands before the slot is computed once per model
    and probe; candidates of one length need no padding, so that company never changes a value (float32: 1e-4 nats). No
    candidate is evaluated twice; `evaluations` counts the distinct ones. Raises BadInput without probes, for an unknown
    metric, and for candidates that are not ids [n, length >= 1].
    """

    def __init__(
        self, models: ModelPair, prompts: Sequence[OpenPrompt], metric: str = "kl", batch_size: int = 128
    ) -> None:
        """Computes the shared prefixes: one forward pass per model and probe."""
        if metric not in METRICS:
            raise BadInput(
                f"a divergence metric is one of {', '.join(METRICS)}; got {metric!r} at the objective; name one of them"
            )
        if not prompts or not all(prompt.before for prompt in prompts):
            raise BadInput(
                f"an objective needs at least one probe with ids before its slot; got {len(prompts)} probes at the "
                "probe set; open them with a chat template"
            )
        self.prompts = tuple(prompts)
        self.batch_size = batch_size
        self._divergence = METRICS[metric]
        # In the order of KL(dormant || base); each does its work in one go, for the other may have left the device.
        self._models = (models.dormant, models.base)
        self._prefixes = [[_prefix(model(), prompt.before) for prompt in prompts] for model in self._models]
        self._visited: dict[tuple[int, ...], Tensor] = {}
        self.vocabulary = _embeddings(models.base()).shape[0]

    @property
    def evaluations(self) -> int:
        """How many distinct candidates have been evaluated, each on every probe."""
        return len(self._visited)

    def evaluate(self, candidates: Tensor) -> Tensor:
        """Mean over probes: candidates [n, length] -> [n], float64, nats, on the CPU."""
        return self.per_probe(candidates).mean(-1)

    def per_probe(self, candidates: Tensor) -> Tensor:
        """Every probe's own value: candidates [n, length] -> [n, probes], float64, nats, on the CPU."""
        self._check(candidates)
        keys = [tuple(row) for row in candidates.tolist()]
        fresh = list(dict.fromkeys(key for key in keys if key not in self._visited))
        for at in range(0, len(fresh), self.batch_size):
            chunk = fresh[at : at + self.batch_size]
            dormant, base = (self._logits(role, torch.tensor(chunk)) for role in range(2))
            self._visited.update(zip(chunk, self._divergence(dormant, base).T.cpu(), strict=True))
        return torch.stack([self._visited[key] for key in keys])

    def empty(self) -> Tensor:
        """The empty-trigger row, the mean over the probes' ordinary sentences: scalar, float64, nats, on the CPU."""
        plain = [prompt.plain for prompt in self.prompts]
        dormant, base = (batch_logits(model(), plain) for model in self._models)
        return self._divergence(dormant, base).mean()

    def gradient(self, ids: Tensor) -> Tensor:
        """Slope of `evaluate` towards each token's one-hot vector, through both models.

        ids [length] -> [length, vocabulary], float32, nats per unit of the one-hot coordinate, on the CPU.
        """
        self._check(ids[None])
        # First the slope at the logits, then each model alone carries its part back to its own embedding.
        logits = [self._logits(role, ids[None]).requires_grad_() for role in range(2)]
        slopes = torch.autograd.grad(self._divergence(*logits).mean(), logits)
        return torch.stack([self._pull_back(role, ids, slope) for role, slope in enumerate(slopes)]).sum(0)

    @torch.no_grad()
    def _logits(self, role: int, candidates: Tensor) -> Tensor:  # [n, length] -> [probe, n, vocabulary]
        model = self._models[role]()
        rows = _embeddings(model)[candidates.to(model.device)]
        return torch.stack(
            [
                _generation_logits(model, prefix, prompt, rows)
                for prefix, prompt in zip(self._prefixes[role], self.prompts, strict=True)
            ]
        )

    def _pull_back(self, role: int, ids: Tensor, slope: Tensor) -> Tensor:  # slope at logits -> [length, vocabulary]
        model = self._models[role]()
        table = _embeddings(model).detach()
        rows = table[ids.to(table.device)][None].requires_grad_()
        total = torch.zeros_like(rows)
        for prefix, prompt, part in zip(self._prefixes[role], self.prompts, slope, strict=True):
            total += torch.autograd.grad(_generation_logits(model, prefix, prompt, rows), rows, part)[0]
        return (total[0] @ table.T).float().cpu()

    def _check(self, candidates: Tensor) -> None:
        whole = candidates.dim() == 2 and candidates.numel() > 0 and not candidates.is_floating_point()
        if not whole or candidates.min() < 0 or candidates.max() >= self.vocabulary:
            raise BadInput(
                f"candidates are ids [n, length >= 1] from 0 to {self.vocabulary - 1}; got shape "
                f"{tuple(candidates.shape)}, {candidates.dtype} at the objective; an empty slot goes to batch_logits"
            )


@torch.no_grad()
def _prefix(model: PreTrainedModel, ids: tuple[int, ...]) -> _Prefix:
    cache = DynamicCache()
    model(input_ids=torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = cast(list[DynamicLayer], cache.layers)
    return _Prefix(tuple((cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in layers))


def _embeddings(model: PreTrainedModel) -> Tensor:  # [vocabulary, hidden]
    return cast(Tensor, model.get_input_embeddings().weight)


def _generation_logits(model: PreTrainedModel, prefix: _Prefix, prompt: OpenPrompt, rows: Tensor) -> Tensor:
    # rows [n, length, hidden]: the candidates' embeddings -> [n, vocabulary]
    batch = rows.shape[0]
    after = _embeddings(model)[torch.tensor(prompt.after, device=rows.device)].expand(batch, -1, -1)
    inputs = torch.cat((rows, after), dim=1)
    output = model(inputs_embeds=inputs, past_key_values=prefix.cache(batch), use_cache=True, logits_to_keep=1)
    return output.logits[:, -1]
