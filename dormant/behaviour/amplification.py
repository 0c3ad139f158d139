"""How far a candidate drives the models apart over the same prompts without it, and what chance does at its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dormant.divergence import js_divergence, kl_divergence
from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.prompts import Probe, Prompt, Prompter, batch_logits
from dormant.search.gcg import allowed_tokens

METRICS = ("kl", "js", "difference-in-differences")


@dataclass(frozen=True)
class Amplification:
    """One candidate over probes, in nats at the generation position: [probe] each; `gains` is filled minus empty."""

    ids: tuple[int, ...]
    empty: tuple[float, ...]
    filled: tuple[float, ...]

    @property
    def gains(self) -> list[float]:
        return [filled - empty for filled, empty in zip(self.filled, self.empty, strict=True)]


def amplification(pair: Pair, probes: Sequence[Probe], text: str, metric: str) -> Amplification:
    """The divergence of the probes without and with a candidate text (experiments 13 and 17a)."""
    prompter = Prompter(pair.base.tokenizer)
    empty = [prompter.encode(probe) for probe in probes]
    filled = [prompter.encode_text(probe, text) for probe in probes]
    before, after = divergences(pair, empty, filled, metric)
    return Amplification(prompter.candidate_ids(text), tuple(before), tuple(after))


def length_matched_nulls(
    pair: Pair, probes: Sequence[Probe], length: int, metric: str, count: int, seed: int
) -> list[list[float]]:
    """The gains of `count` candidates of random tokens that survive in every probe: [null, probe], nats."""
    prompter = Prompter(pair.base.tokenizer)
    empty = [prompter.encode(probe) for probe in probes]
    filled = [
        [prompter.encode(probe, ids) for probe in probes]
        for ids in random_candidates(prompter, probes, length, count, seed)
    ]
    flat = [prompt for row in filled for prompt in row]
    before, after = divergences(pair, empty * count, flat, metric)
    gains = [late - early for late, early in zip(after, before, strict=True)]
    return [gains[start : start + len(probes)] for start in range(0, len(gains), len(probes))]


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


def divergences(
    pair: Pair, empty: Sequence[Prompt], filled: Sequence[Prompt], metric: str
) -> tuple[list[float], list[float]]:
    """The metric on the prompts without and with the candidate: two lists over prompts, nats.

    "kl" is KL(dormant || base), "js" the Jensen-Shannon divergence; "difference-in-differences" is how much more the
    candidate moves the dormant model than the base, and 0 without it. Each model runs once, in turn, so that one at a
    time may be on the device.
    """
    distinct = list(dict.fromkeys(prompt.ids for prompt in (*empty, *filled)))
    row = {ids: index for index, ids in enumerate(distinct)}
    base = batch_logits(pair.models.base(), distinct)
    dormant = batch_logits(pair.models.dormant(), distinct)
    first, second = ([row[prompt.ids] for prompt in prompts] for prompts in (empty, filled))
    if metric == "difference-in-differences":
        moved = kl_divergence(dormant[second], dormant[first]) - kl_divergence(base[second], base[first])
        return [0.0] * len(first), moved.tolist()
    if metric not in METRICS:
        raise BadInput(f"a metric must be one of {', '.join(METRICS)}; got {metric!r} at the divergence; choose one")
    measure = kl_divergence if metric == "kl" else js_divergence
    apart: Tensor = measure(dormant, base)
    return apart[first].tolist(), apart[second].tolist()
