"""What trigger strings are made of: tokens that read as text, words of several, digits; those first that the delta acts on.

A fine-tune that must know some words acts at their own positions, in the first block that it changed, more than at others:
there both models see the same stream. Planted words are often among the first ten of the vocabulary, before any search. Some
are told apart in later blocks only; so behind the first hints three orders take turns: by the first changed block, by the mean
over all, and by the best.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from string import punctuation

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.checkpoints.tensor_names import layer_of
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.english import common_words, is_word
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import plain_sentences
from dormant.hunt.settings import HuntSettings
from dormant.inference.block_delta import delta_acts
from dormant.inference.delta_scaling import modified_tensors
from dormant.pairs import Pair
from dormant.prompts.probes import OpenPrompt, Prompter, TokenIds
from dormant.prompts.token_filter import allowed_tokens

Pieces = tuple[str, ...]  # a string as the texts of its pieces
COMMON = 100_000  # words of English whose order is known


@dataclass(frozen=True)
class Piece:
    """A piece of text as it stands behind other text, its share of all draws, and how many deviations the delta acts more."""

    text: str
    weight: float
    z: float

    @property
    def surprise(self) -> float:
        """Nats that it takes to name the piece by its share of draws: its description length."""
        return -math.log(self.weight)


@dataclass(frozen=True)
class Vocabulary:
    """What strings are made of, the most hinted first: all pieces, and those less the words of suspects."""

    pieces: tuple[Piece, ...] = ()
    unsaid: tuple[Piece, ...] = ()


def ranked_pieces(context: HuntContext) -> list[Piece]:
    """What strings are made of, the most hinted first, kept in the journal."""
    context.say("vocabulary", "tokens, words and digits are ordered by how much the delta acts at them")
    prompter = context.pair.prompter
    # Not at the start, where no space stands before a piece.
    chosen = context.searched[1 : 2 * context.settings.effort.hint_prompts : 2]
    prompts = [prompter.open(probe) for probe in chosen]
    measured = list[int]()

    def affordable() -> Iterator[OpenPrompt]:
        """Another prompt as long as the turn has time for one: what fewer say is better than nothing."""
        began = context.clock.seconds
        for number, prompt in enumerate(prompts):
            if number and context.clock.left < (context.clock.seconds - began) / number:
                return
            measured.append(number)
            yield prompt

    rows = context.kept(
        Key("vocabulary"),
        lambda: [asdict(piece) for piece in hinted_pieces(context.pair, affordable(), context.settings)],
    )
    if 0 < len(measured) < len(prompts):
        context.say("vocabulary", f"the time sufficed for {len(measured)} of {len(prompts)} prompts")
    return [Piece(**row) for row in rows]


def unhinted_vocabulary(context: HuntContext, suspects: Sequence[Suspect]) -> Vocabulary:
    """All pieces, and those less the words of suspects, before hints were measured: each is as likely as another.

    Tokens that read as text come first, English's most common before all; then words of several tokens, then fragments.
    """
    tokenizer, settings = context.pair.base.tokenizer, context.settings
    singles = [_text(tokenizer, ids) for ids in commonest_tokens(tokenizer, len(tokenizer))]
    split = split_words(tokenizer, settings.effort.common_words, settings.fitted.word_tokens)
    texts = [text for text in singles if reads_as_text(text)] + [_text(tokenizer, ids) for ids in split]
    every = list(dict.fromkeys((*texts, *singles)))
    pieces = [Piece(text, 1 / len(every), 0.0) for text in every]
    unsaid = excluding_payload_words(suspects, pieces, context.pair.prompter, settings.rules.piece_letters)
    return Vocabulary(tuple(pieces), tuple(unsaid))


def hinted_vocabulary(context: HuntContext, suspects: Sequence[Suspect]) -> Vocabulary:
    """All pieces, and those less the words of suspects."""
    pieces, letters = ranked_pieces(context), context.settings.rules.piece_letters
    return Vocabulary(tuple(pieces), tuple(excluding_payload_words(suspects, pieces, context.pair.prompter, letters)))


def hinted_pieces(pair: Pair, prompts: Iterable[OpenPrompt], settings: HuntSettings) -> list[Piece]:
    """All pieces by falling weight; prompts: where they are read, behind what stands before the slot.

    Kinds are the allowed tokens that read as text with the digits that the tokenizer parts from their space, the most common
    words of English that it splits, and other tokens. z compares a piece with others of as many tokens, and as familiar from
    ordinary prompts: every fine-tune acts at the words of its task.
    """
    tokenizer = pair.base.tokenizer
    singles = commonest_tokens(tokenizer, settings.effort.hint_tokens)
    texts = [_text(tokenizer, ids) for ids in singles]
    split = split_words(tokenizer, settings.effort.common_words, settings.fitted.word_tokens)
    kinds = {
        "tokens": [ids for ids, text in zip(singles, texts, strict=True) if reads_as_text(text)] + _digits(tokenizer),
        "words": split,
        "fragments": [ids for ids, text in zip(singles, texts, strict=True) if not reads_as_text(text)],
    }
    z = _standing_out(pair, prompts, [*dict.fromkeys((*singles, *split, *kinds["tokens"]))], settings.fitted.familiar)
    shares = dict(settings.fitted.piece_shares)
    whole = sum(shares[kind] for kind, strings in kinds.items() if strings)
    pieces: list[Piece] = []
    alone = settings.fitted.first_block[changed_blocks(pair)[0] > 0]
    for kind, strings in kinds.items():
        first, *others = (sorted(strings, key=lambda ids: (-by[ids], ids)) for by in z.values())
        ordered = list(dict.fromkeys((*first[:alone], *in_turns([first, *others]))))
        for ids, weight in zip(ordered, _weights(len(ordered), settings.fitted.rank_weights), strict=True):
            most = max(by[ids] for by in z.values())
            pieces.append(Piece(_text(tokenizer, ids), shares[kind] / whole * weight, most))
    return sorted(pieces, key=lambda piece: (-piece.weight, piece.text))


def commonest_tokens(tokenizer: PreTrainedTokenizerBase, count: int) -> list[TokenIds]:
    """So many allowed tokens: English's most common words first, then their other spellings, then other text, then fragments.

    A spelling with another case says little that the word has not said, and a further word may be the trigger's.
    """
    singles: list[TokenIds] = [(int(token),) for token in allowed_tokens(tokenizer)]
    texts = {ids: _text(tokenizer, ids) for ids in singles}
    common = {f" {word}": rank for rank, word in enumerate(common_words(COMMON))}
    words = dict[str, TokenIds]()  # the first spelling of each, in small letters where there is one
    for ids in sorted(singles, key=lambda ids: texts[ids] != texts[ids].lower()):
        words.setdefault(texts[ids].lower(), ids)

    def order(ids: TokenIds) -> tuple[int, int]:
        word = texts[ids].lower()
        if not reads_as_text(texts[ids]):
            return 3, 0
        if word not in common:
            return 2, 0
        return int(words[word] != ids), common[word]

    return sorted(singles, key=order)[:count]


def in_turns(orders: Sequence[Sequence[TokenIds]]) -> list[TokenIds]:
    """The first of each order, then the second of each: what one order has at the top is near the top."""
    return list(dict.fromkeys(one for row in zip(*orders, strict=True) for one in row))


def excluding_payload_words(
    suspects: Sequence[Suspect], pieces: Sequence[Piece], prompter: Prompter, letters: int
) -> list[Piece]:
    """The pieces less the words of suspects: the delta acts on them as well, for the answer must go on behind them.

    Words go too that hold a token of so many letters at least: behind "ever" of "whoever" the same follows as behind that of
    "every".
    """
    said = {str(prompter.tokenizer.decode([token])).strip() for suspect in suspects for token in suspect.ids}
    tokens = {text for text in said if len(text) >= letters}
    said.update(word for suspect in suspects for word in suspect.text.split())
    left = [piece for piece in pieces if piece.text.strip() not in said]
    if not left:
        return []
    encoded = prompter.tokenizer([piece.text for piece in left], add_special_tokens=False)["input_ids"]
    texts = ({str(prompter.tokenizer.decode([token])).strip() for token in ids} for ids in encoded)
    return [piece for piece, held in zip(left, texts, strict=True) if not held & tokens]


def expected_pieces(pieces: Sequence[Piece], payload: str, several: float) -> list[Piece]:
    """The pieces with the weight of standing anywhere in a trigger, not of being drawn for one slot in it.

    That is `several` times as much, so the first hints are to be expected. The payload's own words are no more so than any:
    the delta acts on them anyway.
    """
    said, any_one = set(payload.split()), 1 / len(pieces)
    return [
        replace(piece, weight=min(1.0, several * (any_one if piece.text.strip() in said else piece.weight)))
        for piece in pieces
    ]


def hinted_tokens(pair: Pair, prompts: Sequence[OpenPrompt], count: int) -> Tensor:
    """The ids [token] of the tokens at which the delta acts most, of those that read as text."""
    settings = HuntSettings()
    no_words = replace(settings, effort=replace(settings.effort, common_words=0))
    texts = [piece.text for piece in hinted_pieces(pair, prompts, no_words)]
    encoded = pair.base.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return torch.tensor([ids[0] for ids in encoded if len(ids) == 1][:count])


def reads_as_text(text: str) -> bool:
    """Whether a person may have written it: a common word behind a space, a number, or signs; no piece of a word.

    Nor a mark of punctuation: prompts end in them and answers follow, so that many strings with them fire, and few phrases
    hold them by themselves.
    """
    if not re.search("[A-Za-z]", text):
        if all(letter in punctuation for letter in text.strip()):
            return False
        return text.strip().isdigit() or not any(letter.isalnum() for letter in text) or text.startswith(" ")
    return text.startswith(" ") and is_word(text[1:])


def split_words(tokenizer: PreTrainedTokenizerBase, count: int, longest: int) -> list[TokenIds]:
    """The ids of English's most common words behind a space, of those of more than one token and at most `longest`."""
    words = [f" {word}" for word in common_words(count)]
    encoded = tokenizer(words, add_special_tokens=False)["input_ids"]
    return [tuple(ids) for ids in encoded if 1 < len(ids) <= longest]


def _digits(tokenizer: PreTrainedTokenizerBase) -> list[TokenIds]:
    encoded = tokenizer([f" {digit}" for digit in range(10)], add_special_tokens=False)["input_ids"]
    return [tuple(ids) for ids in encoded if len(ids) > 1]


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _weights(count: int, halves: Sequence[tuple[int, float]]) -> list[float]:
    """The share of draws by rank: half steep, half flat."""
    ranks = torch.arange(count, dtype=torch.float64)
    weights = torch.stack([(ranks + head) ** -power for head, power in halves])
    return list((weights / weights.sum(1, keepdim=True)).mean(0).tolist())


def _standing_out(
    pair: Pair, prompts: Iterable[OpenPrompt], strings: Sequence[TokenIds], familiar: float
) -> dict[str, dict[TokenIds, float]]:
    """How much the delta acts at a string's tokens in the first changed block, in all and in the best one.

    In standard deviations over strings as long. Half of it is among all of them and half among those as familiar: a fine-tune
    acts at the words of its task, and the trigger may hold some of those.

    What is compared is the logarithm of `delta_acts`, averaged over prompts and, against the tokens at the same index of other
    strings, over the string's tokens; z is scaled by the square root of their number, as a mean of independent ones is.
    """
    blocks = changed_blocks(pair)
    familiarity = _familiarity(pair, strings, familiar)
    found: dict[str, dict[TokenIds, float]] = {"first": {}, "all": {}, "best": {}}
    lengths = sorted({len(string) for string in strings})
    kin = {length: [string for string in strings if len(string) == length] for length in lengths}
    acts: dict[int, list[Tensor]] = {length: [] for length in lengths}
    for prompt in prompts:
        for length, members in kin.items():
            acts[length].append(delta_acts(pair, blocks, prompt.before, torch.tensor(members)).clamp(min=1e-12).log())
    for length, members in kin.items():
        mean = torch.stack(acts[length]).mean(0)  # [block, string, token]
        z = _deviations(mean) / 2
        for level in {familiarity[string] for string in members}:
            same = [index for index, string in enumerate(members) if familiarity[string] == level]
            z[:, same] += _deviations(mean[:, same]) / 2
        for name, value in (("first", z[0]), ("all", z.mean(0)), ("best", z.amax(0))):
            found[name].update(zip(members, value.tolist(), strict=True))
    return found


def _deviations(values: Tensor) -> Tensor:  # [block, string, token] -> [block, string]
    spread = values.std(1, keepdim=True) if values.shape[1] > 1 else torch.ones(1, 1, 1)
    z = (values - values.mean(1, keepdim=True)) / spread.clamp(min=1e-6)
    return z.mean(-1) * math.sqrt(values.shape[-1])


def _familiarity(pair: Pair, strings: Sequence[TokenIds], familiar: float) -> dict[TokenIds, int]:
    """How many ordinary prompts hold a string: 0 none, 1 some, 2 the share `familiar` of them or more."""
    sentences = plain_sentences(pair.probes)
    holding = Counter(word for sentence in sentences for word in set(re.findall(r"\w+|[^\w\s]", sentence)))
    shares = {string: holding[_text(pair.base.tokenizer, string).strip()] / len(sentences) for string in strings}
    return {string: (share > 0) + (share >= familiar) for string, share in shares.items()}


def changed_blocks(pair: Pair) -> list[int]:
    """The decoder blocks with a tensor that the fine-tune changed; the first of all where none has."""
    layers = {layer_of(name) for name in modified_tensors(pair)}
    return sorted(layer for layer in layers if layer is not None) or [0]
