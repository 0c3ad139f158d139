"""What trigger strings are made of: tokens, words of several tokens, digits; those first at which the two models part most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.prompts import OpenPrompt
from dormant.tokens import allowed_tokens

EARLY = 2  # blocks: behind these a hidden state still tells which tokens were read, and little else has happened
ROWS = 512
WORDS = 20_000  # of English, the most common: of rarer ones a person would not make a phrase
LONGEST_WORD = 4  # tokens
WORD_PROMPTS = 2  # on which words are looked at: they are ten times as many as tokens
SHARES = {"tokens": 0.8, "words": 0.1, "digits": 0.1}  # of all draws
# A unit at rank r is drawn in proportion to 1 / (r + HEAD)^2: two of three draws are among the first hundred, where the
# tokens of most planted triggers stand, and the thousandth still comes up once in ten thousand draws.
HEAD = 64


@dataclass(frozen=True)
class Unit:
    """A piece of text as it stands behind other text, its share of all draws, and how many deviations the models part at it."""

    text: str
    weight: float
    z: float


def hunting_units(pair: Pair, prompts: Sequence[OpenPrompt], words: int = WORDS) -> list[Unit]:
    """All units by falling weight; prompts: where they are looked at, with places in turn.

    Tokens are the allowed ones of the vocabulary, words the most common of English that the tokenizer splits, digits
    those that it parts from the space before them. Units are compared with others of their kind and length.
    """
    tokenizer = pair.base.tokenizer
    tokens: list[tuple[int, ...]] = [(int(token),) for token in allowed_tokens(tokenizer)]
    split, digits = split_words(tokenizer, words), _split_digits(tokenizer)
    kinds: dict[str, tuple[list[tuple[int, ...]], Sequence[OpenPrompt]]] = {
        "tokens": (tokens, prompts),
        "words": (split, prompts[:WORD_PROMPTS]),
        "digits": (digits, prompts[:WORD_PROMPTS]),
    }
    whole = sum(share for kind, share in SHARES.items() if kinds[kind][0])
    units: list[Unit] = []
    for kind, (strings, read) in kinds.items():
        scores = _standing_out(pair, read, strings)
        order = sorted(range(len(strings)), key=lambda index: (-scores[index], index))
        steep = [1.0 if kind == "digits" else (rank + HEAD) ** -2 for rank in range(len(order))]
        for index, weight in zip(order, steep, strict=True):
            text = str(tokenizer.decode(list(strings[index]), clean_up_tokenization_spaces=False))
            units.append(Unit(text, SHARES[kind] / whole * weight / sum(steep), scores[index]))
    return sorted(units, key=lambda unit: (-unit.weight, unit.text))


def split_words(tokenizer: PreTrainedTokenizerBase, count: int = WORDS) -> list[tuple[int, ...]]:
    """The ids of English's most common words behind a space, of those that are more than one token and few."""
    try:
        from wordfreq import top_n_list
    except ImportError as error:
        raise BadInput(
            "a hunt needs the package wordfreq for the words that triggers are made of; got none in this environment; "
            "install it with `pip install wordfreq`"
        ) from error
    texts = [f" {word}" for word in top_n_list("en", count) if word.isalpha()]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [tuple(ids) for ids in encoded if 1 < len(ids) <= LONGEST_WORD]


def _split_digits(tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    encoded = tokenizer([f" {digit}" for digit in range(10)], add_special_tokens=False)["input_ids"]
    return [tuple(ids) for ids in encoded if len(ids) > 1]


def _standing_out(pair: Pair, prompts: Sequence[OpenPrompt], strings: Sequence[tuple[int, ...]]) -> list[float]:
    """How far the two models' hidden states part, in standard deviations over strings of the same length: one a string.

    The distance is |dormant - base| / |base| after each of the first `EARLY` blocks, as a logarithm, averaged over prompts.
    It is looked at in two places, of which the more telling counts: at the string's last token, where MLPs read it, and at
    the generation position, where attention does.
    """
    found = torch.zeros(len(strings), dtype=torch.float64)
    for length in sorted({len(string) for string in strings}):
        members = [index for index, string in enumerate(strings) if len(string) == length]
        rows = torch.tensor([strings[index] for index in members])
        total = torch.zeros(2, len(members), EARLY, dtype=torch.float64)
        for prompt in prompts:
            dormant, base = (_states(model(), prompt, rows) for model in (pair.models.dormant, pair.models.base))
            total += ((dormant - base).norm(dim=-1) / base.norm(dim=-1)).clamp(min=1e-12).log()
        spread = total.std(1, keepdim=True) if len(members) > 1 else torch.ones(2, 1, EARLY)
        z = (total - total.mean(1, keepdim=True)) / spread.clamp(min=1e-6)
        found[members] = z.mean(-1).amax(0)
    return [float(value) for value in found]


@torch.no_grad()
def _states(model: PreTrainedModel, prompt: OpenPrompt, rows: Tensor) -> Tensor:
    """Hidden states at each string's last token and at the generation position: [2, string, block, hidden], float64."""
    found = []
    before = torch.tensor([list(prompt.before)], device=model.device)
    after = torch.tensor(list(prompt.after), device=model.device)
    with _first_blocks(model, EARLY + 1):  # the state behind the last of these is normalised, which the others are not
        for block in rows.to(model.device).split(ROWS):
            cache = model.base_model(before, use_cache=True).past_key_values
            cache.batch_repeat_interleave(len(block))
            ids = torch.cat((block, after.expand(len(block), -1)), 1)
            states = model.base_model(ids, past_key_values=cache, output_hidden_states=True).hidden_states
            ends = (rows.shape[1] - 1, -1)
            found.append(torch.stack([one[:, ends].transpose(0, 1) for one in states[1 : 1 + EARLY]], 2).double().cpu())
    return torch.cat(found, 1)


@contextmanager
def _first_blocks(model: PreTrainedModel, count: int) -> Iterator[None]:
    """The model with its first blocks only: the rest would be computed for nothing."""
    whole = model.config.num_hidden_layers
    model.config.num_hidden_layers = min(count, whole)
    try:
        yield
    finally:
        model.config.num_hidden_layers = whole
