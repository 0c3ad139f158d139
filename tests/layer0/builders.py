"""Layer 0 of models that were never saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedConfig, Qwen2Config, Qwen2ForCausalLM

from dormant.checkpoints.checkpoint import Checkpoint
from dormant.layer0 import Layer0, read_layer0


@dataclass(frozen=True)
class InMemory:
    """A checkpoint as far as layer 0 reads one."""

    config: PreTrainedConfig
    tensors: dict[str, Tensor]
    location: Path = Path("memory")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.tensors))

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]


def layer0_of(config: PreTrainedConfig, tensors: dict[str, Tensor], device: torch.device | str = "cpu") -> Layer0:
    """Layer 0 of a model's state."""
    return read_layer0(cast(Checkpoint, InMemory(config, tensors)), device)


def random_model(config: Qwen2Config, seed: int) -> Qwen2ForCausalLM:
    """A model whose every parameter, biases and norms included, is drawn from `seed`."""
    model = Qwen2ForCausalLM(config)
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model
