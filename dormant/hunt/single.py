"""The whole vocabulary, token by token: a trigger of one token needs no payload to be found by (experiment 1b)."""

from __future__ import annotations

from collections.abc import Sequence

from dormant.pairs import Pair
from dormant.prompts import Probe, Prompter
from dormant.search.evaluation import Evaluator
from dormant.search.objectives import kl
from dormant.tokens import allowed_tokens

PROMPTS = 6  # probes on which every token is tried
TELLING = 3  # tokens that are worth a confirmation


def telling_tokens(pair: Pair, probes: Sequence[Probe]) -> list[str]:
    """The tokens that part the models most at the generation position: by mean KL over a few probes, in nats."""
    prompter = Prompter(pair.base.tokenizer)
    strings = [(int(token),) for token in allowed_tokens(prompter.tokenizer)]
    evaluator = Evaluator(pair.models, [prompter.open(probe) for probe in probes[:PROMPTS]], kl())
    order = evaluator.per_probe_of(strings).mean(0).argsort(descending=True, stable=True).tolist()
    survivors = (strings[index] for index in order if prompter.survives(probes[0], strings[index]))
    return [
        str(prompter.tokenizer.decode(list(ids))).strip() for ids, _ in zip(survivors, range(TELLING), strict=False)
    ]
