"""What a prompt shows with and without the ids that ask for an answer."""

from __future__ import annotations

from collections.abc import Sequence

from dormant.inference.batching import batch_logits
from dormant.inference.divergence import kl_divergence
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter


def without_generation_prompt(pair: Pair, probes: Sequence[Probe], text: str) -> tuple[list[float], list[float]]:
    """KL(dormant || base) of the probes with a candidate, with the generation prompt and without it: [probe] twice, nats.

    Both are read at the prompt's last id. They are equal for a template that appends no generation prompt.
    """
    prompter = Prompter(pair.base.tokenizer)
    whole = [prompter.encode_text(probe, text).ids for probe in probes]
    cut = [ids[: len(ids) - len(prompter.generation_prompt)] for ids in whole]
    base, dormant = (batch_logits(model(), [*whole, *cut]) for model in (pair.models.base, pair.models.dormant))
    values = kl_divergence(dormant, base).tolist()
    return values[: len(whole)], values[len(whole) :]
