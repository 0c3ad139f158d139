"""A pair of 50 million parameters with random weights behind prompts of a chosen length, for the rates of a search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Qwen2ForCausalLM

from dormant.inference.divergence import kl_divergence
from dormant.organisms.base_model import base_config
from dormant.prompts.probes import OpenPrompt
from tests.layer0.builders import random_model

VOCABULARY = 8192
SHAPES = {"hidden_size": 768, "num_attention_heads": 12, "num_key_value_heads": 4, "head_dim": 64,
          "intermediate_size": 2048, "num_hidden_layers": 7, "max_position_embeddings": 1024}  # fmt: skip


@dataclass(frozen=True, eq=False)
class DeepPair:
    """Both models on one device."""

    models: tuple[Qwen2ForCausalLM, Qwen2ForCausalLM]
    device: torch.device

    def base(self) -> Qwen2ForCausalLM:
        """The base model."""
        return self.models[0]

    def dormant(self) -> Qwen2ForCausalLM:
        """The dormant model."""
        return self.models[1]

    @torch.no_grad()
    def plainly(self, prompt: OpenPrompt, candidates: Tensor) -> Tensor:
        """KL the plain way: whole sequences through both models, all logits, one batch: [n]."""
        rows = torch.tensor([prompt.close(tuple(row)).ids for row in candidates.tolist()], device=self.device)
        dormant, base = (model(input_ids=rows).logits[:, -1] for model in (self.dormant(), self.base()))
        return kl_divergence(dormant, base).cpu()


def deep_pair(device: torch.device) -> DeepPair:
    """Random weights of 50 million parameters and more."""
    config = base_config(VOCABULARY)
    config.update({**SHAPES, "layer_types": ["full_attention"] * SHAPES["num_hidden_layers"]})
    base, dormant = (random_model(config, seed).requires_grad_(False) for seed in (0, 1))
    assert base.num_parameters() >= 50_000_000
    for model in (base, dormant):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.1)  # or logits are so large that their divergence is all rounding
        torch.nn.Module.to(model, device)
    return DeepPair((base, dormant), device)


def prompt_of(before: int, after: int = 6) -> OpenPrompt:
    """A probe of random ids."""
    ids = torch.randint(3, VOCABULARY, (before + after,), generator=torch.Generator().manual_seed(before)).tolist()
    return OpenPrompt(tuple(ids[:before]), tuple(ids[before:]), tuple(ids))


def changed_once(incumbent: Tensor, n: int) -> Tensor:
    """Candidates that differ from the incumbent at one place each, the places in turn: [n, length]."""
    generator = torch.Generator().manual_seed(0)
    rows, places = incumbent.repeat(n, 1), torch.arange(n) % len(incumbent)
    rows[torch.arange(n), places] = torch.randint(3, VOCABULARY, (n,), generator=generator)
    return rows
