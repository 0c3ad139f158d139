"""A ranking of the vocabulary as a person reads it: the first thirty tokens, whose words they are, and what chance gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dormant.errors import BadInput
from dormant.prompts.probes import Prompter
from dormant.statistics import Estimate

LIST = 30  # tokens in a list that a person reads, as many as the plan's experiment 14 printed
ONE_SIDED = 0.95

Group = frozenset[int]  # the tokens that are one word but for case and a space before it


@dataclass(frozen=True, eq=False)
class TokenRanking:
    """Scores of the whole vocabulary, the highest first in the list: scores [token], float32.

    `null` [token, draws] holds the same score for random directions in the place of the delta's.
    """

    scores: Tensor
    null: Tensor

    def top(self, count: int = LIST) -> list[int]:
        """The ids of the highest scores, best first; among equal scores the lower id comes first."""
        return _top(self.scores, count)

    def share(self, groups: Sequence[Group], count: int = LIST) -> float:
        """The share of the words that have a token in the list."""
        return _share(self.top(count), groups)

    def ranks(self, groups: Sequence[Group]) -> list[int]:
        """Each word's best place in the ranking, 1 for the top."""
        order = torch.argsort(self.scores, descending=True, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        return [1 + int(place[sorted(group)].min()) for group in groups]

    def share_of_random_directions(self, groups: Sequence[Group], count: int = LIST) -> Estimate:
        """The same share for random directions: its mean, and 95 % of the draws lie within the interval."""
        shares = [_share(_top(draw, count), groups) for draw in self.null.T]
        high = float(np.quantile(shares, ONE_SIDED, method="higher"))
        return Estimate(float(np.mean(shares)), 0.0, high, len(shares), f"{len(shares)} random draws, one-sided 95%")


def words_in_vocabulary(tokenizer: Any, text: str) -> list[Group]:
    """The words of a text as groups of tokens: each token of it with those that differ in case or a leading space only.

    A word of several tokens gives one group for each. Raises BadInput for a text without tokens.
    """
    spelled: dict[str, list[int]] = {}
    for token in range(len(tokenizer)):
        spelled.setdefault(_spelling(tokenizer, token), []).append(token)
    ids = Prompter(tokenizer).candidate_ids(text)
    spellings = dict.fromkeys(_spelling(tokenizer, token) for token in ids)
    if not spellings:
        raise BadInput(f"a text must have tokens; got none at {text!r}; name the words to look for")
    return [frozenset(spelled[spelling]) for spelling in spellings]


def chance_of_hits(vocabulary: int, groups: Sequence[Group], count: int = LIST) -> list[float]:
    """P(h words have a token in the list) when the list is drawn at random: [h], from none to all.

    Each word's chance is hypergeometric; their dependence, of the order of count / vocabulary, is left out.
    """
    chances = [1.0]
    for group in groups:
        missed = comb(vocabulary - count, len(group)) / comb(vocabulary, len(group))
        chances = [
            missed * (chances[hits] if hits < len(chances) else 0.0)
            + (1 - missed) * (chances[hits - 1] if hits else 0.0)
            for hits in range(len(chances) + 1)
        ]
    return chances


def share_of_random_tokens(vocabulary: int, groups: Sequence[Group], count: int = LIST) -> Estimate:
    """The share of the words that a random list would hold: its mean and the one-sided 95 % bound."""
    chances = chance_of_hits(vocabulary, groups, count)
    mean = sum(hits * chance for hits, chance in enumerate(chances)) / len(groups)
    high = int(np.searchsorted(np.cumsum(chances), ONE_SIDED)) / len(groups)
    return Estimate(mean, 0.0, high, len(groups), "hypergeometric, one-sided 95%")


def chance_of_share(vocabulary: int, groups: Sequence[Group], share: float, count: int = LIST) -> float:
    """The probability that a random list holds at least this share of the words."""
    hits = round(share * len(groups))
    return float(sum(chance_of_hits(vocabulary, groups, count)[hits:]))


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """How the tokens read, white space and unprintable ones visible."""
    texts = [str(tokenizer.decode([token], clean_up_tokenization_spaces=False)) for token in ids]
    return [text if text.isprintable() and text.strip() == text else repr(text) for text in texts]


def _spelling(tokenizer: Any, token: int) -> str:
    text = str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
    # Tokens that are no whole characters all decode to the replacement character, and would all be one word.
    return f"token {token}" if "\N{REPLACEMENT CHARACTER}" in text or not text.strip() else text.strip().casefold()


def _top(scores: Tensor, count: int) -> list[int]:
    ids: list[int] = torch.argsort(scores, descending=True, stable=True)[:count].tolist()
    return ids


def _share(listed: Sequence[int], groups: Sequence[Group]) -> float:
    return sum(not group.isdisjoint(listed) for group in groups) / len(groups)


def places_by_layer(scores: Mapping[int, Tensor], groups: Sequence[Group]) -> dict[int, list[int]]:
    """The best place of each word in every layer's own ranking: layer -> [word]."""
    return {layer: TokenRanking(row, row[:, None]).ranks(groups) for layer, row in scores.items()}
