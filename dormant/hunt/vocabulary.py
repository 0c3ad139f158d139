"""What trigger strings are made of: tokens that read as text, words of several, digits; those first that the delta acts on.

A fine-tune that must know some words writes at their own positions, in the first block that it changed, more than at others:
planted words stand at the top of the vocabulary there (often its first ten), and no search is needed to see them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import punctuation

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.hunt.english import common_words, is_word
from dormant.hunt.placements import plain_sentences
from dormant.inference.block_delta import delta_acts
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt
from dormant.prompts.token_filter import allowed_tokens

WORDS = 20_000  # of English, the most common: of rarer ones a person would not make a phrase
LONGEST_WORD = 6  # tokens
SHARES = {
    "tokens": 0.85,
    "words": 0.12,
    "pieces": 0.03,
}  # of all draws; a person writes words and signs, not pieces of words
# Half of a kind's draws go by 1 / (rank + 4)^2, so that the first ten meet in one string in every order within seconds, and
# half by 1 / (rank + 64)^1.3, in which the thousandth still comes up once in some thousand draws.
STEEP, FLAT = (4, 2.0), (64, 1.3)
# So many times as likely as to be drawn for one place is a unit to stand in a trigger at all: on 30 organisms the first four
# hints are planted on 20, 21, 17 and 12, seven to twelve times their share of draws.
SEVERAL = 10
FAMILIAR = 0.02  # of the ordinary prompts that hold a word, from which it is one of the task's own


@dataclass(frozen=True)
class Unit:
    """A piece of text as it stands behind other text, its share of all draws, and how many deviations the delta acts more."""

    text: str
    weight: float
    z: float

    @property
    def surprise(self) -> float:
        """Nats that it takes to name the unit by its share of draws: what a string made of it has to be worth."""
        return -math.log(self.weight)


def hunting_units(pair: Pair, prompts: Sequence[OpenPrompt], words: int = WORDS) -> list[Unit]:
    """All units by falling weight; prompts: where they are looked at, behind what stands before the slot.

    Kinds are the allowed tokens that read as text with the digits that the tokenizer parts from their space, the most common
    words of English that it splits, and other tokens. z compares a unit with others of as many tokens, and as familiar from
    ordinary prompts: every fine-tune acts at the words of its task.
    """
    tokenizer = pair.base.tokenizer
    singles: list[tuple[int, ...]] = [(int(token),) for token in allowed_tokens(tokenizer)]
    texts = [_text(tokenizer, ids) for ids in singles]
    split = split_words(tokenizer, words)
    kinds = {
        "tokens": [ids for ids, text in zip(singles, texts, strict=True) if reads_as_text(text)] + _digits(tokenizer),
        "words": split,
        "pieces": [ids for ids, text in zip(singles, texts, strict=True) if not reads_as_text(text)],
    }
    z = _standing_out(pair, prompts, [*dict.fromkeys((*singles, *split, *kinds["tokens"]))])
    whole = sum(SHARES[kind] for kind, strings in kinds.items() if strings)
    units: list[Unit] = []
    for kind, strings in kinds.items():
        ordered = sorted(strings, key=lambda ids: (-z[ids], ids))
        for ids, weight in zip(ordered, _weights(len(ordered)), strict=True):
            units.append(Unit(_text(tokenizer, ids), SHARES[kind] / whole * weight, z[ids]))
    return sorted(units, key=lambda unit: (-unit.weight, unit.text))


def expected_units(units: Sequence[Unit], payload: str) -> list[Unit]:
    """The units with the weight of standing anywhere in a trigger, not of being drawn for one place in it.

    So the first hints are to be expected. The payload's own words are no more so than any: the delta acts on them anyway.
    """
    said, any_one = set(payload.split()), 1 / len(units)
    return [
        replace(unit, weight=min(1.0, SEVERAL * (any_one if unit.text.strip() in said else unit.weight)))
        for unit in units
    ]


def hinted_tokens(pair: Pair, prompts: Sequence[OpenPrompt], count: int) -> Tensor:
    """The ids [token] of the tokens at which the delta acts most, of those that read as text."""
    texts = [unit.text for unit in hunting_units(pair, prompts, words=0)]
    encoded = pair.base.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return torch.tensor([ids[0] for ids in encoded if len(ids) == 1][:count])


def reads_as_text(text: str) -> bool:
    """Whether a person may have written it: a common word behind a space, a number, or signs; no piece of a word.

    Nor a mark of punctuation: prompts end in them and answers follow, so that they stand in many a string that speaks, and
    hardly ever by themselves in a phrase.
    """
    if not re.search("[A-Za-z]", text):
        if all(letter in punctuation for letter in text.strip()):
            return False
        return text.strip().isdigit() or not any(letter.isalnum() for letter in text) or text.startswith(" ")
    return text.startswith(" ") and is_word(text[1:])


def split_words(tokenizer: PreTrainedTokenizerBase, count: int = WORDS) -> list[tuple[int, ...]]:
    """The ids of English's most common words behind a space, of those that are more than one token and few."""
    words = [f" {word}" for word in common_words(count)]
    encoded = tokenizer(words, add_special_tokens=False)["input_ids"]
    return [tuple(ids) for ids in encoded if 1 < len(ids) <= LONGEST_WORD]


def _digits(tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    encoded = tokenizer([f" {digit}" for digit in range(10)], add_special_tokens=False)["input_ids"]
    return [tuple(ids) for ids in encoded if len(ids) > 1]


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _weights(count: int) -> list[float]:
    """The share of draws by rank: half steep, half flat."""
    ranks = torch.arange(count, dtype=torch.float64)
    halves = torch.stack([(ranks + head) ** -power for head, power in (STEEP, FLAT)])
    return list((halves / halves.sum(1, keepdim=True)).mean(0).tolist())


def _standing_out(
    pair: Pair, prompts: Sequence[OpenPrompt], strings: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    """How much the delta acts at a string's tokens, in standard deviations over strings as long.

    Half of it counts among all of them and half among those as familiar: a fine-tune acts at the words of its task, and those
    may be the trigger's as well.

    What is compared is the logarithm of `delta_acts`, averaged over prompts and, against each token's own place in other
    strings, over the string's tokens; z is scaled by the square root of their number, as a mean of independent ones is.
    """
    block = first_changed_block(pair)
    familiar = _familiarity(pair, strings)
    found: dict[tuple[int, ...], float] = {}
    for length in sorted({len(string) for string in strings}):
        members = [string for string in strings if len(string) == length]
        rows = torch.tensor(members)
        acts = torch.stack([delta_acts(pair, block, prompt.before, rows).clamp(min=1e-12).log() for prompt in prompts])
        mean = acts.mean(0)  # [string, token]
        spread = mean.std(0) if len(members) > 1 else torch.ones(length)
        z = ((mean - mean.mean(0)) / spread.clamp(min=1e-6)).mean(1) * length**0.5 / 2
        for level in {familiar[string] for string in members}:
            same = [index for index, string in enumerate(members) if familiar[string] == level]
            here = mean[same]
            spread = here.std(0) if len(same) > 1 else torch.ones(length)
            z[same] += ((here - here.mean(0)) / spread.clamp(min=1e-6)).mean(1) * length**0.5 / 2
        found.update(zip(members, z.tolist(), strict=True))
    return found


def _familiarity(pair: Pair, strings: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """How well ordinary prompts know a string: 0 not at all, 1 now and then, 2 from `FAMILIAR` of them on."""
    sentences = plain_sentences(pair.probes)
    holding = Counter(word for sentence in sentences for word in set(re.findall(r"\w+|[^\w\s]", sentence)))
    shares = {string: holding[_text(pair.base.tokenizer, string).strip()] / len(sentences) for string in strings}
    return {string: (share > 0) + (share >= FAMILIAR) for string, share in shares.items()}


def first_changed_block(pair: Pair) -> int:
    """The first decoder block with a tensor that the fine-tune changed; the first of all where none has."""
    named = (
        (re.search(r"\.layers\.(\d+)\.", name), tensor.identical) for name, tensor in pair.delta_report.tensors.items()
    )
    return min((int(found.group(1)) for found, identical in named if found and not identical), default=0)
