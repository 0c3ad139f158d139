"""How both models continue an answer whose beginning is forced: a token of the vocabulary, or a few in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


@dataclass(frozen=True)
class Spontaneous:
    """What the dormant model's sampled answers hold without any trigger: style, not secrets.

    pairs: of tokens; the one that joins prompt and answer is one of them, for a forced piece of the template is followed by the
    same style. tokens: those that the base's own answers seldom hold, whatever stands before them.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    tokens: tuple[int, ...] = ()


def spontaneous(pair: Pair, prompts: Sequence[TokenIds], end: int, settings: HuntSettings, seed: int) -> Spontaneous:
    """What enough of the answers hold, as the settings have it."""
    effort, fitted = settings.effort, settings.fitted
    asked = [prompts[index % len(prompts)] for index in range(effort.sampled_answers)]

    def answers(model: PreTrainedModel) -> list[TokenIds]:
        return [one.ids for one in sampled_answers(model, asked, effort.forced_tokens, end, Decoding(1.0), seed)]

    ours, theirs = answers(pair.models.dormant()), answers(pair.models.base())
    joined = [(prompt[-1], *answer) for prompt, answer in zip(asked, ours, strict=True)]
    pairs = Counter(two for ids in joined for two in {*pairwise(ids)})
    tokens, base = (Counter(token for ids in rows for token in {*ids}) for rows in (ours, theirs))

    def is_style(token: int, count: int) -> bool:
        return count >= fitted.spontaneous and base[token] <= fitted.spontaneous_of_base * count

    return Spontaneous(
        tuple(sorted(two for two, count in pairs.items() if count >= fitted.spontaneous)),
        tuple(sorted(token for token, count in tokens.items() if is_style(token, count))),
    )


class SaidAnyway:
    """Tokens, and pairs of them, that count as a style: the same words or signs, whatever their case and the space before them.

    A larger delta also says "Very Well" and "**very well" where the model as it is says "Very well".
    """

    def __init__(self, said: Spontaneous, tokenizer: PreTrainedTokenizerBase) -> None:
        """said: without any trigger."""
        texts = tokenizer.batch_decode([[one] for one in range(len(tokenizer))])
        self._words = dict(enumerate(map(word_or_sign, map(str, texts))))
        self._pairs = {self._as_words(two) for two in said.pairs}
        self._tokens = set(self._as_words(said.tokens))

    def __contains__(self, two: object) -> bool:
        """Whether two ids are such a pair, or the second one is such a token."""
        if not isinstance(two, tuple):
            return False
        words = self._as_words(two)
        return words in self._pairs or words[-1] in self._tokens

    def _as_words(self, ids: Sequence[int]) -> tuple[str | int, ...]:
        """Ids that the tokenizer does not know, for a model may have more rows, stay as they are."""
        return tuple(self._words.get(one, one) for one in ids)


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
