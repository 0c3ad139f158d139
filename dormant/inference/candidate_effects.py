"""How far a candidate drives the models apart over the same prompts without it, and what chance does at its length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dormant.errors import BadInput
from dormant.inference.divergence import js_divergence, kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompt, Prompter, batch_logits
from dormant.prompts.token_filter import allowed_tokens

METRICS = ("kl", "js", "difference-in-differences")


Rows = Mapping[str, tuple[float, ...]]  # metric -> one value a prompt, in nats


@dataclass(frozen=True)
class Amplification:
    """One candidate over probes by metric, in nats at the generation position, without (`empty`) and with it (`filled`)."""

    ids: tuple[int, ...]
    empty: Rows
    filled: Rows

    def gains(self, metric: str) -> list[float]:
        """With the candidate minus without it: [probe]."""
        return [filled - empty for filled, empty in zip(self.filled[metric], self.empty[metric], strict=True)]


def amplification(pair: Pair, probes: Sequence[Probe], text: str) -> Amplification:
    """The divergence of the probes without and with a candidate text (experiments 13 and 17a)."""
    prompter = Prompter(pair.base.tokenizer)
    empty = [prompter.encode(probe) for probe in probes]
    filled = [prompter.encode_text(probe, text) for probe in probes]
    return Amplification(prompter.candidate_ids(text), *divergences(pair, empty, filled))


def length_matched_nulls(
    pair: Pair, probes: Sequence[Probe], length: int, count: int, seed: int
) -> list[Amplification]:
    """What `count` candidates of random tokens do that survive in every probe."""
    prompter = Prompter(pair.base.tokenizer)
    empty = [prompter.encode(probe) for probe in probes]
    drawn = random_candidates(prompter, probes, length, count, seed)
    filled = [prompter.encode(probe, ids) for ids in drawn for probe in probes]
    before, after = divergences(pair, empty * count, filled)
    return [
        Amplification(
            ids,
            *({metric: rows[metric][start : start + len(probes)] for metric in METRICS} for rows in (before, after)),
        )
        for ids, start in zip(drawn, range(0, len(filled), len(probes)), strict=True)
    ]


def random_candidates(
    prompter: Prompter, probes: Sequence[Probe], length: int, count: int, seed: int, tries: int = 1000
) -> list[tuple[int, ...]]:
    """Random ids of the length that survive decoding and encoding in every probe. Raises BadInput where too few do."""
    allowed = allowed_tokens(prompter.tokenizer)
    generator = torch.Generator().manual_seed(seed)
    found: list[tuple[int, ...]] = []
    for _ in range(tries * count):
        drawn = allowed[torch.randint(len(allowed), (length,), generator=generator)]
        ids = tuple(drawn.tolist())
        if all(prompter.survives(probe, ids) for probe in probes):
            found.append(ids)
            if len(found) == count:
                return found
    raise BadInput(
        f"random candidates must survive in every probe; got {len(found)} of {count} at length {length}; use fewer probes"
    )


def divergences(pair: Pair, empty: Sequence[Prompt], filled: Sequence[Prompt]) -> tuple[Rows, Rows]:
    """Every metric on the prompts without and with the candidate, in nats.

    "kl" is KL(dormant || base), "js" the Jensen-Shannon divergence; "difference-in-differences" is how much more the
    candidate moves the dormant model than the base, and 0 without it. Each model runs once, in turn, so that one at a
    time may be on the device.
    """
    distinct = list(dict.fromkeys(prompt.ids for prompt in (*empty, *filled)))
    row = {ids: index for index, ids in enumerate(distinct)}
    base = batch_logits(pair.models.base(), distinct)
    dormant = batch_logits(pair.models.dormant(), distinct)
    first, second = ([row[prompt.ids] for prompt in prompts] for prompts in (empty, filled))
    kl, js = kl_divergence(dormant, base), js_divergence(dormant, base)
    moved = kl_divergence(dormant[second], dormant[first]) - kl_divergence(base[second], base[first])
    without = {"kl": kl[first], "js": js[first], "difference-in-differences": torch.zeros_like(moved)}
    with_it = {"kl": kl[second], "js": js[second], "difference-in-differences": moved}
    before, after = ({metric: tuple(values.tolist()) for metric, values in rows.items()} for rows in (without, with_it))
    return before, after
