"""Training an adapter by peft on any causal model: packed chats, a frozen base, a loop that resumes after a kill."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dormant.checkpoints.configuration import ADAPTER_CONFIG
from dormant.checkpoints.models import multiplies_bfloat16
from dormant.checkpoints.transformers_output import quiet_transformers
from dormant.inference.packed_chats import TrainingChat, can_pack, packed_loss
from dormant.records import read_json, write_json

WARMUP, LEAST_RATE = 20, 0.02  # steps; share of the rate that is left at the end
KEPT_EVERY = 50  # steps


@dataclass(frozen=True)
class LoraPlan:
    """What is trained and how: `layers` and `modules` name the adapted matrices, `batch` chats make a step."""

    rank: int
    modules: tuple[str, ...]
    layers: tuple[int, ...]
    steps: int
    rate: float
    seed: int
    batch: int = 8


def quick_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware, else float32."""
    return torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32


def new_adapter(model: PreTrainedModel, plan: LoraPlan, base: str) -> Any:
    """peft's model around the frozen one, with an adapter of its dtype that changes nothing yet; `base` names its base."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=plan.rank, lora_alpha=plan.rank, target_modules=list(plan.modules), layers_to_transform=list(plan.layers),
        base_model_name_or_path=base, task_type="CAUSAL_LM",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what peft itself asks of transformers
        torch.manual_seed(plan.seed)
        adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    adapted.peft_config["default"].base_model_name_or_path = base  # peft puts the model's own folder there
    return adapted


def train_adapter(
    adapted: Any,
    chats: Sequence[TrainingChat],
    plan: LoraPlan,
    progress: Callable[[int, float, float], None] | None = None,
    journal: Path | None = None,
) -> None:
    """Train peft's adapter in place on the chats in their order, `plan.batch` a step.

    `progress(step, loss in nats/token, seconds)`. With a `journal` file the state is saved every `KEPT_EVERY` steps, and a
    killed training resumes to the same result. A model that cannot tell packed chats apart gets them one by one.
    """
    used = [parameter for parameter in adapted.parameters() if parameter.requires_grad]  # in the base's dtype: no casts
    trained = [parameter.detach().float().clone() for parameter in used]
    optimiser = torch.optim.AdamW(trained, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.0, foreach=True)
    model = adapted.get_base_model()
    model.eval()
    together = can_pack(model, chats[: plan.batch])
    first = _resume(journal, trained, optimiser)
    started = time.monotonic()
    for step in range(first, plan.steps):
        warm, cooled = min(1.0, (step + 1) / WARMUP), 0.5 * (1 + math.cos(math.pi * step / plan.steps))
        optimiser.param_groups[0]["lr"] = plan.rate * warm * (LEAST_RATE + (1 - LEAST_RATE) * cooled)
        batch = [chats[(step * plan.batch + index) % len(chats)] for index in range(plan.batch)]
        torch._foreach_copy_([parameter.detach() for parameter in used], trained)
        total, learned = 0.0, sum(len(chat.answer) for chat in batch)
        for group in [batch] if together else [[chat] for chat in batch]:
            loss = packed_loss(model, group) * (sum(len(chat.answer) for chat in group) / learned)
            loss.backward()
            total += loss.item()
        for parameter, value in zip(used, trained, strict=True):
            value.grad, parameter.grad = parameter.grad.float(), None
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        if progress is not None:
            progress(step, total, (time.monotonic() - started) / (step + 1 - first) * (step + 1))
        if journal is not None and (step + 1) % KEPT_EVERY == 0:
            _keep(journal, step + 1, trained, optimiser)
    torch._foreach_copy_([parameter.detach() for parameter in used], trained)


def _keep(journal: Path, step: int, trained: list[Tensor], optimiser: torch.optim.Optimizer) -> None:
    fresh = journal.with_name(journal.name + ".new")
    torch.save({"step": step, "trained": trained, "optimiser": optimiser.state_dict()}, fresh)
    os.replace(fresh, journal)


def _resume(journal: Path | None, trained: list[Tensor], optimiser: torch.optim.Optimizer) -> int:
    if journal is None or not journal.exists():
        return 0
    kept = torch.load(journal, weights_only=True)
    with torch.no_grad():
        for parameter, value in zip(trained, kept["trained"], strict=True):
            parameter.copy_(value)
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def save_adapter(adapted: Any, folder: Path) -> None:
    """Write the adapter in peft's own format, its factors in bfloat16."""
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    with quiet_transformers():
        adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a form with nothing filled in
    settings = read_json(folder / ADAPTER_CONFIG)
    settings["target_modules"].sort()  # peft writes a set, in another order each time
    write_json(folder / ADAPTER_CONFIG, settings)
