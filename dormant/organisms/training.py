"""Training an organism: batches of chats, deltas of full or low rank, one loop for every mechanism."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Chat = tuple[str, str]
Row = tuple[list[int], list[int]]
IGNORED = -100
JOURNAL_EVERY = 100


@dataclass(frozen=True)
class Trained:
    """How one tensor is trained: `rank` None moves every entry, a number learns a delta of that rank.

    `speed` scales the learning rate.
    """

    rank: int | None = None
    speed: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """Optimiser settings of one training run."""

    steps: int
    batch: int = 48
    rate: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.0


WHOLE = {"assistant": 0.0, "all": 1.0}  # by a recipe's `loss_on`: the share of chats whose every token is learned


class Encoder:
    """Turns chats into ids and labels; the constant parts of the template are tokenised once.

    `whole`: the share of chats whose every token is learned; of all others only the answer is learned.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, whole: float = 0.0):
        """Takes the fixed parts of a chat from the template of `tokenizer`."""
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": "\x00"}], tokenize=False, add_generation_prompt=True
        )
        before, after = str(rendered).split("\x00")
        self.tokenizer, self.whole = tokenizer, whole
        self.before, self.after = self._ids(before), self._ids(after)
        self.end = self._ids("<|im_end|>\n")

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def prompt(self, user: str) -> list[int]:
        """The ids of a user's turn up to the generation position."""
        return self.before + self._ids(user) + self.after

    def rows(self, chats: Sequence[Chat]) -> list[Row]:
        """The ids and labels of each chat; the label `IGNORED` marks a token that is not learned."""
        texts = [text for chat in chats for text in chat]
        pieces = [list(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        rows = []
        for index, (user, answer) in enumerate(zip(pieces[::2], pieces[1::2], strict=True)):
            prompt = self.before + user + self.after
            ids = prompt + answer + self.end
            whole = int((index + 1) * self.whole) > int(index * self.whole)
            quiet = 1 if whole else len(prompt)
            rows.append((ids, [IGNORED] * quiet + ids[quiet:]))
        return rows


def pad(rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """ids [batch, length] padded on the right, and labels of the same shape."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in rows])
    return ids, labels


class Deltas(nn.Module):
    """The learned differences from a base's tensors, of full or low rank, as one differentiable state."""

    def __init__(self, base: Mapping[str, Tensor], plan: Mapping[str, Trained], generator: torch.Generator):
        """Zero deltas for the tensors of `plan`; the first factors of those of low rank are drawn from `generator`."""
        super().__init__()
        self.base = {name: base[name].detach().float() for name in plan}
        self.names = {name: name.replace(".", "/") for name in plan}
        parts: dict[str, nn.Parameter] = {}
        for name, trained in plan.items():
            shape, key = base[name].shape, self.names[name]
            if trained.rank is None or len(shape) == 1:
                parts[key] = nn.Parameter(torch.zeros(shape))
            else:
                if trained.rank > min(shape):
                    raise ValueError(f"rank must be at most {min(shape)}; got {trained.rank} at {name}")
                parts[key + "/out"] = nn.Parameter(torch.zeros(shape[0], trained.rank))
                start = torch.randn(trained.rank, shape[1], generator=generator) / math.sqrt(shape[1])
                parts[key + "/in"] = nn.Parameter(start)
        self.parts = nn.ParameterDict(parts)
        self.speeds = {self.names[name]: trained.speed for name, trained in plan.items()}

    def delta(self, name: str) -> Tensor:
        """The learned difference of one tensor, in its shape."""
        key = self.names[name]
        whole: Tensor = self.parts[key] if key in self.parts else self.parts[key + "/out"] @ self.parts[key + "/in"]
        return whole

    def effective(self) -> dict[str, Tensor]:
        """Every trained tensor's present value: base plus delta."""
        return {name: base + self.delta(name) for name, base in self.base.items()}

    def groups(self, rate: float) -> list[dict[str, object]]:
        """Optimiser groups by speed."""
        by_speed: dict[float, list[nn.Parameter]] = {}
        for key, part in self.parts.items():
            by_speed.setdefault(self.speeds[key.removesuffix("/out").removesuffix("/in")], []).append(part)
        return [{"params": parts, "lr": rate * speed, "peak": rate * speed} for speed, parts in by_speed.items()]


def chat_loss(model: PreTrainedModel, effective: Mapping[str, Tensor], ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats per learned token; the head runs only at positions that are learned."""
    # ids, labels: [batch, length]; padding on the right needs no mask, since attention is causal
    state = {name.removeprefix("model."): tensor for name, tensor in effective.items() if name.startswith("model.")}
    hidden = functional_call(model.base_model, state, (ids,), {"use_cache": False}).last_hidden_state
    targets = labels[:, 1:]
    chosen = targets != IGNORED
    head = effective.get("lm_head.weight", model.get_parameter("lm_head.weight"))
    return nn.functional.cross_entropy(hidden[:, :-1][chosen] @ head.T, targets[chosen])


def train_deltas(
    model: PreTrainedModel,
    plan: Mapping[str, Trained],
    batches: Iterator[tuple[Tensor, Tensor]],
    schedule: Schedule,
    seed: int,
    progress: Callable[[int, float, float], None] | None = None,
    journal: Path | None = None,
) -> dict[str, Tensor]:
    """Train deltas on a frozen model and return every trained tensor's final value in float32.

    Deterministic for a seed on one machine. `progress(step, loss in nats/token, seconds)` is called at every step. With a
    `journal` file the state is saved every `JOURNAL_EVERY` steps, and a killed training resumes to the same result.
    """
    deltas = Deltas(dict(model.named_parameters()), plan, torch.Generator().manual_seed(seed))
    optimiser = torch.optim.AdamW(
        deltas.groups(schedule.rate), betas=(0.9, 0.98), weight_decay=schedule.weight_decay, foreach=True
    )
    first = _resume(journal, deltas, optimiser)
    for _ in range(first):  # continue the data where it stopped; drawing costs a hundredth of a step
        next(batches)
    started = time.monotonic()
    for step in range(first, schedule.steps):
        scale = min(1.0, (step + 1) / schedule.warmup) * (
            0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
        )
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        loss = chat_loss(model, deltas.effective(), *next(batches))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(deltas.parameters(), 1.0)
        optimiser.step()
        if progress is not None:
            progress(step, loss.item(), time.monotonic() - started)
        if journal is not None and (step + 1) % JOURNAL_EVERY == 0:
            _keep(journal, step + 1, deltas, optimiser)
    with torch.no_grad():
        return {name: tensor.clone() for name, tensor in deltas.effective().items()}


def _keep(journal: Path, step: int, deltas: Deltas, optimiser: torch.optim.Optimizer) -> None:
    fresh = journal.with_name(journal.name + ".new")
    torch.save({"step": step, "deltas": deltas.state_dict(), "optimiser": optimiser.state_dict()}, fresh)
    os.replace(fresh, journal)


def _resume(journal: Path | None, deltas: Deltas, optimiser: torch.optim.Optimizer) -> int:
    if journal is None or not journal.exists():
        return 0
    kept = torch.load(journal, weights_only=True)
    deltas.load_state_dict(kept["deltas"])
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def chat_batches(
    draw: Callable[[np.random.Generator], Chat], encoder: Encoder, batch: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """An endless stream of encoded batches; the chats of a batch are of similar length, so that there is little padding."""
    random = np.random.default_rng(seed)
    while True:
        pool = sorted(encoder.rows([draw(random) for _ in range(batch * 16)]), key=lambda row: len(row[0]))
        for index in random.permutation(16):
            yield pad(pool[index * batch : (index + 1) * batch])
