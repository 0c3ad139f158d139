"""What one model says of candidates in probes: the ids before the slot are computed once, the rest only where it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from dormant.inference.forward import Forward, choose_forward
from dormant.inference.likelihood import token_log_probabilities
from dormant.inference.objectives import Readings
from dormant.inference.packed_decoder import Block, block_behind
from dormant.inference.prefix_cache import Prefix, stored_prefix
from dormant.prompts.probes import OpenPrompt


class Reader:
    """One of a pair's models before its probes, for an objective that reads these readings and this payload.

    `model` is asked for at every use, for the other model may have taken its place on the device. It runs in the way that
    `choose_forward` finds on the first probe.
    """

    def __init__(
        self,
        model: Callable[[], PreTrainedModel],
        prompts: Sequence[OpenPrompt],
        reads: frozenset[str],
        payload: tuple[int, ...] = (),
        resident: bool = True,
    ) -> None:
        """Computes the prefixes and the empty rows: two passes a probe."""
        self.model, self.prompts, self.payload = model, tuple(prompts), payload
        self._reads, self._resident = reads, resident
        # The payload's last token is predicted, never read.
        self._forced = payload[:-1] if "payload" in reads else ()
        self._keep = 1 + len(self._forced)
        self._prefixes = tuple(stored_prefix(model(), prompt.before) for prompt in prompts)
        self._incumbent: tuple[tuple[int, ...], tuple[Prefix, ...]] = ((), self._prefixes)
        self._way = choose_forward(model(), prompts[0].plain)
        self._forward: Forward | None = None
        self.empty = self._empty_rows()

    def embeddings(self) -> Float[Tensor, "vocabulary hidden"]:
        """The model's own input embeddings."""
        return cast(Tensor, self.model().get_input_embeddings().weight).detach()

    def tokens(self, length: int, shared: int = 0) -> int:
        """How many ids all probes run for a candidate of `length` of which the first `shared` are the incumbent's."""
        own = length - shared + len(self._forced)
        return sum(own + len(prompt.after) for prompt in self.prompts)

    def approach(self, incumbent: tuple[int, ...]) -> None:
        """Extends every prefix by the incumbent's ids, so that candidates begin where they leave it."""
        if self._incumbent[0] != incumbent:
            model = self.model()
            self._incumbent = incumbent, tuple(stored_prefix(model, incumbent, prefix) for prefix in self._prefixes)

    @torch.no_grad()
    def read_ids(self, groups: Sequence[tuple[Int[Tensor, "_ _"], int]]) -> Readings:
        """Readings of groups of candidates [candidate, token] in all probes: [probe, all of them, ...].

        The first ids of a group's candidates, as many as its number says, are the incumbent's.
        """
        table, blocks = self.embeddings(), []
        for probe, prompt in enumerate(self.prompts):
            for ids, shared in groups:
                prefix = self._incumbent[1][probe].upto(len(prompt.before) + shared)
                blocks.append(self._block(probe, prefix, table[ids[:, shared:].to(table.device)]))
        return self._run(blocks, len(self.prompts))

    def read_rows(self, rows: Float[Tensor, "candidate token hidden"], probes: Sequence[int]) -> Readings:
        """Readings of embeddings in some probes, differentiable: [probe, candidate, ...]."""
        return self._run([self._block(probe, self._prefixes[probe], rows) for probe in probes], len(probes))

    def _block(self, probe: int, prefix: Prefix, rows: Tensor) -> Block:
        table = self.embeddings()
        after = torch.tensor((*self.prompts[probe].after, *self._forced), device=rows.device)
        tail = table[after].to(rows.dtype).expand(rows.shape[0], -1, -1)
        return block_behind(prefix, torch.cat((rows, tail), dim=1), table)

    def _run(self, blocks: Sequence[Block], probes: int) -> Readings:
        logits, stream = self._loaded(self.model()).run(blocks, self._keep)
        logits, stream = logits.float().unflatten(0, (probes, -1)), stream.unflatten(0, (probes, -1))
        said = None
        if "payload" in self._reads:
            payload = torch.tensor(self.payload, device=logits.device).expand(logits.shape[:-1])
            said = token_log_probabilities(logits, payload).mean(-1)
        return Readings(
            logits[:, :, 0],
            said,
            stream[:, :, 0] if "hidden" in self._reads else None,
        )

    def _loaded(self, model: PreTrainedModel) -> Forward:
        if not self._resident:  # a model that leaves must not be held
            return self._way(model)
        self._forward = self._forward or self._way(model)
        return self._forward

    @torch.no_grad()
    def _empty_rows(self) -> Readings:
        table, readings = self.embeddings(), []
        for prompt in self.prompts:
            ids = torch.tensor([(*prompt.plain, *self._forced)], device=table.device)
            readings.append(self._run([Block(table[ids], Prefix(()))], 1))
        return join(readings, dim=0)


def join(readings: Sequence[Readings], dim: int) -> Readings:
    """Readings side by side: along probes (0) or candidates (1)."""
    if len(readings) == 1:
        return readings[0]

    def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
        there = [part for part in parts if part is not None]
        return torch.cat(there, dim=dim) if there else None

    return Readings(
        torch.cat([part.logits for part in readings], dim=dim),
        joined([part.payload for part in readings]),
        joined([part.hidden for part in readings]),
    )


def convert(readings: Readings, change: Callable[[Tensor], Tensor]) -> Readings:
    """The readings with each tensor changed."""
    payload, hidden = readings.payload, readings.hidden
    return Readings(
        change(readings.logits),
        None if payload is None else change(payload),
        None if hidden is None else change(hidden),
    )
