"""How often a watch flags ordinary prompts, prompts with a string, and with random strings in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dormant.activations.delta_watch import DeltaWatch, fit_watch
from dormant.errors import BadInput
from dormant.hunt.confirmation import ALONE
from dormant.hunt.placements import POSITIONS, placed_probes, plain_sentences
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from dormant.prompts.token_filter import allowed_tokens
from dormant.statistics import Estimate, proportion_interval


@dataclass(frozen=True)
class FlagRate:
    """The share of some prompts that is flagged; `control`: where they hold a string, that with random strings in its place."""

    name: str
    estimate: Estimate
    control: Estimate | None = None

    @property
    def tells(self) -> bool:
        """Whether the string is flagged more often than random ones, beyond both intervals: odd text alone is no trigger."""
        return self.control is not None and self.estimate.low > self.control.high


@dataclass(frozen=True)
class WatchedPrompt:
    """A prompt, its distance from ordinary ones, and whether it is flagged."""

    text: str
    distance: float
    flagged: bool


def watched(
    pair: Pair, texts: Sequence[str], lines: Sequence[str], level: float, seed: int = 0
) -> tuple[DeltaWatch, list[FlagRate], list[WatchedPrompt]]:
    """A watch from the pair's ordinary prompts, what it flags of the unseen ones with and without strings, and of the lines."""
    if not all(one.strip() for one in (*texts, *lines)):
        raise BadInput("a string to watch for holds at least one letter; got an empty one at --text; name another")
    (probes,) = placed_probes(pair.probes, [(len(plain_sentences(pair.probes)), POSITIONS)], seed)
    prompter, model = pair.prompter, pair.models.dormant()
    found, unseen = fit_watch(pair, [prompter.encode_text(probe, "").ids for probe in probes], level)
    left = probes[len(probes) - len(unseen) :]

    def rate(name: str, prompts: Sequence[TokenIds], control: Estimate | None = None) -> FlagRate:
        flags = found.flags(model, prompts)
        return FlagRate(name, proportion_interval(int(flags.sum()), len(flags)), control)

    rates = [rate("ordinary, unseen: false alarms", unseen)]
    random, allowed = np.random.default_rng([seed, 17]), allowed_tokens(prompter.tokenizer).numpy()
    for text in texts:
        length = len(prompter.candidate_ids(text))
        strings = [str(prompter.tokenizer.decode(random.choice(allowed, length).tolist())).strip() for _ in left]
        placed = [prompter.encode_text(*one).ids for one in zip(left, strings, strict=True)]
        control = rate(f"with random strings of {length} tokens", placed)
        with_it = [prompter.encode_text(probe, text).ids for probe in left]
        rates += [rate(f"with {text!r}", with_it, control.estimate), control]
    distances = found.distances(model, [prompter.encode_text(ALONE, line).ids for line in lines]) if lines else ()
    return (
        found,
        rates,
        [
            WatchedPrompt(line, float(away), bool(away > found.bound))
            for line, away in zip(lines, distances, strict=True)
        ],
    )
