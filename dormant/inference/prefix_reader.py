"""What one model says of candidates in probes: the ids before the slot are computed once, the rest only where it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from dormant.errors import BadInput
from dormant.inference.likelihood import token_log_probabilities
from dormant.inference.objectives import Readings
from dormant.inference.packed_decoder import Block, Decoder, can_decode
from dormant.inference.prefix_cache import Prefix, lent_cache, stored_prefix
from dormant.prompts.probes import OpenPrompt


class Reader:
    """One of a pair's models before its probes, for an objective that reads these readings and this payload.

    `model` is asked for at every use, for the other model may have taken its place on the device. A model whose arithmetic
    `Decoder` knows, and reproduces on the first probe, runs through it; any other through transformers, a block at a time.
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
        self._decoder: Decoder | None = None
        self._decodes = False
        self.empty = self._empty_rows()
        self._decodes = can_decode(model()) and self._reproduced()

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
        return Block(torch.cat((rows, tail), dim=1), prefix)

    def _run(self, blocks: Sequence[Block], probes: int) -> Readings:
        model = self.model()
        if self._decodes:
            stream = self._loaded(model).run(blocks, self._keep)
            logits = model.get_output_embeddings()(model.get_decoder().norm(stream))
        else:
            found = [self._transformed(model, block) for block in blocks]
            logits, stream = (torch.cat(parts) for parts in zip(*found, strict=True))
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

    def _loaded(self, model: PreTrainedModel) -> Decoder:
        if not self._resident:  # a model that leaves must not be held
            return Decoder(model)
        self._decoder = self._decoder or Decoder(model)
        return self._decoder

    def _transformed(self, model: PreTrainedModel, block: Block) -> tuple[Tensor, Tensor]:
        # logits and residual stream at the kept positions: [row, keep, vocabulary], [row, keep, hidden]
        with _tapped(model) as captured:
            logits = model(
                inputs_embeds=block.rows,
                past_key_values=lent_cache(block.prefix),
                use_cache=bool(block.prefix.layers),
                logits_to_keep=self._keep,
            ).logits
        return logits, captured[0][:, -self._keep :]

    @torch.no_grad()
    def _empty_rows(self, probes: int | None = None) -> Readings:
        table, readings = self.embeddings(), []
        for prompt in self.prompts[:probes]:
            ids = torch.tensor([(*prompt.plain, *self._forced)], device=table.device)
            readings.append(self._run([Block(table[ids], Prefix(()))], 1))
        return join(readings, dim=0)

    def _reproduced(self) -> bool:
        """Whether the decoder gives the model's own logits on the first probe's ordinary sentence."""
        self._decodes = True
        own, found = self.empty.logits[:1], self._empty_rows(1).logits
        allowed = 1e-4 if self.model().dtype == torch.float32 else 2e-2
        return bool((own - found).abs().max() <= allowed * own.abs().max().clamp(min=1))


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


@contextmanager
def _tapped(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Collects what enters the final norm, and lets the head see one block of memory.

    The slice of kept positions is strided, and a strided input costs the head one product for each candidate.
    """
    captured: list[Tensor] = []
    head, norm = model.get_output_embeddings(), getattr(model.get_decoder(), "norm", None)
    if norm is None:
        raise BadInput(
            f"a search reads what enters a decoder's final 'norm'; got none at {type(model).__name__}; use a decoder-only "
            "model such as Qwen2's"
        )
    hooks = [
        head.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:])),
        norm.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0])),
    ]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()
