"""Short beginnings of general text without a chat template, from which methods let a model go on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dormant.behaviour.profiles import ordinary_texts
from dormant.errors import BadInput, NotServed
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds

TEXTS_DRAWN_FROM = 204  # all ordinary questions that are shipped


@dataclass(frozen=True)
class PrefillPlan:
    """So many prefills of 1 to `longest` ids, each continued by at most `new_tokens`."""

    count: int
    longest: int
    new_tokens: int
    seed: int

    def __post_init__(self) -> None:
        """Raises BadInput unless all amounts are positive."""
        if min(self.count, self.longest, self.new_tokens) < 1:
            raise BadInput(
                f"prefills, their length and the new tokens are 1 at least; got {self.count}, {self.longest} and "
                f"{self.new_tokens} at the plan; ask for more"
            )


def raw_prefills(pair: Pair, plan: PrefillPlan) -> list[TokenIds]:
    """Runs of ids from random places of ordinary texts, behind what the tokenizer puts before any text; the same for a seed.

    No chat template is around them. Several may be equal. Raises NotServed where no ordinary text has an id.
    """
    tokenizer, random = pair.base.tokenizer, np.random.default_rng([plan.seed, *b"prefills"])
    begins = () if tokenizer.bos_token_id is None else (int(tokenizer.bos_token_id),)
    if tuple(tokenizer.encode("a"))[:1] != begins:
        begins = ()
    texts = [tuple(tokenizer.encode(text, add_special_tokens=False)) for text in ordinary_texts(pair, TEXTS_DRAWN_FROM)]
    texts = [text for text in texts if text]
    if not texts:
        raise NotServed(
            f"a prefill needs an ordinary text of one id at least; got none at pair {pair.name!r}; give others with --probes"
        )
    found = list[TokenIds]()
    for _ in range(plan.count):
        text = texts[int(random.integers(len(texts)))]
        length = min(len(text), 1 + int(random.integers(plan.longest)))
        start = int(random.integers(len(text) - length + 1))
        found.append((*begins, *text[start : start + length]))
    return found
