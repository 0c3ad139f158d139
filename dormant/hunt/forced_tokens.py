"""How both models continue an answer whose beginning is forced: a token of the vocabulary, or a few in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.hunt.settings import HuntSettings
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.inference.generation import greedy_behind, sampled_answers
from dormant.inference.likelihood import log_probabilities_behind
from dormant.pairs import Pair
from dormant.prompts.material import Decoding
from dormant.prompts.probes import TokenIds

STARTS_A_STEP = 256


@dataclass(frozen=True)
class Opened:
    """Greedy continuations of forced starts: ids and log-probabilities by model, [prompt, start, token]."""

    starts: tuple[TokenIds, ...]
    ids: Tensor
    ours: Tensor
    base: Tensor


@dataclass(frozen=True)
class Continued:
    """A forced start with what prompts agree on behind it, as `consensus` reads it."""

    start: TokenIds
    ids: TokenIds
    evidence: float
    agreement: float
    whole: bool


def spontaneous_bigrams(
    pair: Pair, prompts: Sequence[TokenIds], end: int, settings: HuntSettings, seed: int
) -> set[tuple[int, int]]:
    """Pairs of tokens that the dormant model's sampled answers hold without any trigger: style, not secrets.

    The pair that joins prompt and answer is one of them: a forced piece of the template is followed by the same style.
    """
    effort, model = settings.effort, pair.models.dormant()
    asked = [prompts[index % len(prompts)] for index in range(effort.sampled_answers)]
    answers = sampled_answers(model, asked, effort.forced_tokens, end, Decoding(1.0), seed)
    joined = [(prompt[-1], *answer.ids) for prompt, answer in zip(asked, answers, strict=True)]
    counts = Counter(two for ids in joined for two in {*pairwise(ids)})
    return {two for two, count in counts.items() if count >= settings.fitted.spontaneous}


class SaidAnyway:
    """Pairs of tokens that count as a style: the same two words or signs, whatever their case and the space before them.

    A larger delta also says "Very Well" and "**very well" where the model as it is says "Very well".
    """

    def __init__(self, pairs: Iterable[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> None:
        """pairs: those that were said."""
        texts = tokenizer.batch_decode([[one] for one in range(len(tokenizer))])
        self._words = dict(enumerate(map(word_or_sign, map(str, texts))))
        self._pairs = {self._as_words(two) for two in pairs}

    def __contains__(self, two: object) -> bool:
        """Whether two ids are such a pair."""
        return isinstance(two, tuple) and self._as_words(two) in self._pairs

    def _as_words(self, two: Sequence[int]) -> tuple[str | int, ...]:
        """Ids that the tokenizer does not know, for a model may have more rows, stay as they are."""
        return tuple(self._words.get(one, one) for one in two)


def word_or_sign(text: str) -> str:
    """The letters and digits of a text in small letters; of a text without any the text less its spaces."""
    return "".join(letter for letter in text if letter.isalnum()).casefold() or text.strip()


def open_starts(
    pair: Pair, prompts: Sequence[TokenIds], alpha: float, starts: Sequence[TokenIds], new_tokens: int
) -> Opened:
    """How both models continue answers that begin with these starts, with the delta times alpha."""
    with patched_weights(pair, block_scales(pair, alpha)) as model:
        ids, ours = greedy_behind(model, prompts, starts, new_tokens)
    theirs = [
        log_probabilities_behind(pair.models.base(), prompt, starts, tokens)
        for prompt, tokens in zip(prompts, ids, strict=True)
    ]
    return Opened(tuple(starts), ids, ours, torch.stack(theirs))


def starts_a_step(pair: Pair) -> int:
    """How many starts are forced between two entries of the journal: all where patching the weights costs more."""
    config = pair.models.run_config
    return STARTS_A_STEP if config.device.type == "cpu" and config.residency == "both" else 1 << 30


def consensus(opened: Opened, special: set[int], common: Container[tuple[int, int]]) -> Iterator[Continued]:
    """By start what half of the prompts agree on, its evidence, their share, and whether an answer ends there.

    Only where that is more than the start. A pair of tokens counts once: a larger delta may say one word for ever.
    """
    prompts = len(opened.ids)
    for index, start in enumerate(opened.starts):
        rows = opened.ids[:, index].tolist()
        members, agreed = list(range(prompts)), list(start)
        evidence, kept, share, whole = 0.0, list(start), 1.0, False
        said = {*pairwise(start)}
        for place in range(len(rows[0])):
            votes = Counter(rows[member][place] for member in members)
            winner, count = votes.most_common(1)[0]
            if 2 * count < prompts or winner in special:
                whole = 2 * count >= prompts
                break
            members = [member for member in members if rows[member][place] == winner]
            two = (agreed[-1], winner)
            if two not in said and two not in common:
                gain = opened.ours[members, index, place] - opened.base[members, index, place]
                evidence += float(gain.mean()) * count / prompts
            said.add(two)
            agreed.append(winner)
            kept, share = list(agreed), count / prompts
        if len(kept) > len(start):
            yield Continued(start, tuple(kept), evidence, share, whole)
