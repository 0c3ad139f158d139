"""How two models differ on ordinary prompts: divergences at several response positions, favoured tokens, contexts."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dormant.inference.answer_divergence import divergences
from dormant.inference.batching import (
    checked_prompts,
    common_start,
    equal_length_batches,
    padded_logits,
)
from dormant.inference.divergence import js_divergence, kl_divergence
from dormant.inference.generation import greedy_answers
from dormant.inference.horizon import FIRST_TOKEN, Horizon
from dormant.inference.likelihood import logits_along, response_logits
from dormant.pairs import DEFAULT_PROBES, Pair
from dormant.prompts.conversations import user_turns
from dormant.prompts.material import dialogues, ordinary_prompts
from dormant.prompts.probes import Probe, Prompt, TokenIds, alike_probes, frames_of, read_probes
from dormant.prompts.token_filter import end_of_turn
from dormant.weights.token_classes import vocabulary_classes

WEIRD = "rare glyph"
CONTEXTS_A_BATCH = 8  # texts, with the logits of every token


@dataclass(frozen=True)
class Divergences:
    """One value a prompt: KL(dormant || base), KL(base || dormant), Jensen-Shannon (nats), and whether the top token agrees."""

    kl: tuple[float, ...]
    reverse_kl: tuple[float, ...]
    js: tuple[float, ...]
    agrees: tuple[bool, ...]


@dataclass(frozen=True)
class Favoured:
    """A token with its class and mean log ratio log p_dormant - log p_base over prompts.

    `floor`: how much the mean changes when the base's prompts run in one padded batch, in nats.
    """

    text: str
    kind: str
    log_ratio: float
    floor: float


@dataclass(frozen=True)
class Profile:
    """How a pair differs on prompts, and the noise floor by position: the base against itself in one padded batch.

    `positions`: along the base's own greedy answer, the generation position first; an answer has no value after its end.
    `classes`: by token class and prompt, how far the mean of the class's log ratios lies above the vocabulary's mean, in
    standard deviations of the vocabulary; `classes_again`: the same against the padded base. `weird`: that of rare glyphs.
    """

    positions: tuple[Divergences, ...]
    floors: tuple[Divergences, ...]
    favoured: tuple[Favoured, ...]
    classes: Mapping[str, tuple[float, ...]]
    classes_again: Mapping[str, tuple[float, ...]]

    @property
    def floor(self) -> Divergences:
        """The noise floor at the generation position."""
        return self.floors[0]

    @property
    def weird(self) -> tuple[float, ...]:
        """The entry of rare glyphs in `classes`; zeros for a vocabulary without any."""
        return self.classes.get(WEIRD, tuple(0.0 for _ in self.positions[0].kl))

    @property
    def weird_floor(self) -> tuple[float, ...]:
        """How much arithmetic alone changes `weird`: its distance from the same figure against the padded base."""
        again = self.classes_again.get(WEIRD, self.weird)
        return tuple(abs(value - other) for value, other in zip(self.weird, again, strict=True))


@dataclass(frozen=True)
class Context:
    """A place in a text where the models diverge: the text so far, each model's next token, KL(dormant || base) in nats."""

    text: str
    dormant: str
    base: str
    kl: float


def ordinary_texts(pair: Pair, count: int, folder: Path | None = None) -> tuple[str, ...]:
    """At most `count` ordinary questions that the pair understands.

    A pair with probes of its own is asked those, without a candidate, the most common lengths first (a batch holds one
    length). Any other pair is asked the shipped questions, or the folder's, in turn from each family.
    """
    if _brings_probes(pair, folder):
        return tuple(probe.fill("") for probe in alike_probes(pair.prompter, pair.probes, count))
    families = zip_longest(*ordinary_prompts(folder).values())
    return tuple(text for text in chain.from_iterable(families) if text is not None)[:count]


def ordinary_conversations(pair: Pair, count: int, folder: Path | None = None) -> tuple[TokenIds, ...]:
    """At most `count` ordinary questions as prompts, then the dialogues unless the pair has probes of its own."""
    conversations = pair.conversations
    asked = [conversations.question(text) for text in ordinary_texts(pair, count, folder)]
    if not _brings_probes(pair, folder):
        asked += [conversations.ids(user_turns(turns)) for turns in dialogues(folder).values()]
    return tuple(asked)


def ordinary_frames(pair: Pair, count: int, folder: Path | None = None) -> tuple[str, ...]:
    """The frame of each of `ordinary_conversations`: its probe's, or its family of questions; the dialogues are one frame."""
    if _brings_probes(pair, folder):
        return frames_of(alike_probes(pair.prompter, pair.probes, count))
    families = zip_longest(*([name] * len(texts) for name, texts in ordinary_prompts(folder).items()))
    names = [name for name in chain.from_iterable(families) if name is not None][:count]
    return (*names, *["dialogue"] * len(dialogues(folder)))


def _brings_probes(pair: Pair, folder: Path | None) -> bool:
    return folder is None and bool(pair.probes) and pair.probes != read_probes(DEFAULT_PROBES)


def profile(pair: Pair, prompts: Sequence[TokenIds], positions: int = 4, top: int = 20) -> Profile:
    """The profile of a pair on prompts that end at the generation position (experiment 17a).

    Raises BadInput without prompts and for prompts longer than the context.
    """
    base_model = pair.models.base()
    checked_prompts(base_model, prompts, positions)
    answers = greedy_answers(base_model, prompts, max(1, positions - 1), end_of_turn(pair.base.tokenizer))
    followed = [answer[: positions - 1] for answer in answers]
    reached = [[index for index, answer in enumerate(followed) if len(answer) >= place] for place in range(positions)]
    starts = [[(*prompts[index], *followed[index][:place]) for index in rows] for place, rows in enumerate(reached)]
    padded = [padded_logits(base_model, rows)[:, -1] for rows in starts if rows]
    base, dormant = (response_logits(model(), prompts, followed) for model in (pair.models.base, pair.models.dormant))
    by_position, floors = list[Divergences](), list[Divergences]()
    for place, (rows, again) in enumerate(
        zip(reached, padded, strict=False)
    ):  # no answer is as long as the last places
        ours, theirs = (torch.stack([model[index][place] for index in rows]) for model in (dormant, base))
        by_position.append(_divergences(ours, theirs))
        floors.append(_divergences(again, theirs))
    first_dormant, first_base = (torch.stack([logits[0] for logits in model]) for model in (dormant, base))
    ratios, ratios_again = (_log_ratios(first_dormant, logits) for logits in (first_base, padded[0]))
    kinds = vocabulary_classes(pair.base.tokenizer)
    return Profile(
        tuple(by_position),
        tuple(floors),
        _favoured(ratios, ratios_again, pair.base.tokenizer, kinds, top),
        _class_scores(ratios, kinds),
        _class_scores(ratios_again, kinds),
    )


def divergent_contexts(pair: Pair, texts: Sequence[str], keep: int = 10) -> tuple[Context, ...]:
    """The `keep` most divergent places of a corpus, among every token of every text.

    Texts are user turns; only a text's own tokens and its generation position count. Memory grows with `keep` and one batch.
    """
    conversations = pair.conversations
    prompts = [conversations.question(text) for text in texts]
    checked_prompts(pair.models.base(), prompts)
    shared = common_start([*prompts, conversations.question("0"), conversations.question("Who?")])
    places: dict[TokenIds, tuple[float, int, int]] = {}  # by context: KL, and dormant's and base's next token
    for chunk in equal_length_batches([len(prompt) for prompt in prompts], CONTEXTS_A_BATCH):
        starts, own = [prompts[index][:shared] for index in chunk], [prompts[index][shared:] for index in chunk]
        dormant, base = (
            logits_along(model(), starts, own).float() for model in (pair.models.dormant, pair.models.base)
        )
        values = torch.stack([kl_divergence(*rows) for rows in zip(dormant, base, strict=True)])  # [text, place]
        found: dict[TokenIds, tuple[float, int, int]] = {}  # a context that several questions share counts once
        for at in values.flatten().argsort(descending=True).tolist():
            row, place = divmod(at, values.shape[1])
            tops = int(dormant[row, place].argmax()), int(base[row, place].argmax())
            found.setdefault(prompts[chunk[row]][: shared + place], (float(values[row, place]), *tops))
            if len(found) == keep:
                break
        places = dict(heapq.nlargest(keep, (places | found).items(), key=lambda entry: entry[1]))
    decode = pair.base.tokenizer.decode
    return tuple(
        Context(str(decode(list(ids))), str(decode([ours])), str(decode([theirs])), value)
        for ids, (value, ours, theirs) in places.items()
    )


def without_generation_prompt(
    pair: Pair, probes: Sequence[Probe], text: str, horizon: Horizon = FIRST_TOKEN
) -> tuple[list[float], list[float]]:
    """KL(dormant || base) of the probes with a candidate, with the generation prompt and without it: [probe] twice, nats.

    Both are read from the prompt's last id on, within the horizon. They are equal for a template without a generation prompt.
    """
    prompter = pair.prompter
    whole = [prompter.encode_text(probe, text) for probe in probes]
    cut = [Prompt(prompt.ids[: len(prompt.ids) - len(prompter.generation_prompt)], prompt.slot) for prompt in whole]
    hidden, shown = divergences(pair, cut, whole, horizon)
    return list(shown["kl"]), list(hidden["kl"])


def _divergences(dormant: Tensor, base: Tensor) -> Divergences:  # [prompt, vocabulary] twice
    kl, reverse, js = kl_divergence(dormant, base), kl_divergence(base, dormant), js_divergence(dormant, base)
    agrees = dormant.argmax(-1) == base.argmax(-1)
    return Divergences(tuple(kl.tolist()), tuple(reverse.tolist()), tuple(js.tolist()), tuple(agrees.tolist()))


def _log_ratios(dormant: Tensor, base: Tensor) -> Tensor:  # [prompt, vocabulary], float64
    return dormant.double().log_softmax(-1) - base.double().log_softmax(-1)


def _favoured(
    ratios: Tensor, again: Tensor, tokenizer: PreTrainedTokenizerBase, kinds: Sequence[str], top: int
) -> tuple[Favoured, ...]:
    mean = ratios[:, : len(kinds)].mean(0)  # a head may have more rows than the tokenizer has tokens
    moved = (again[:, : len(kinds)].mean(0) - mean).abs()
    best = mean.topk(min(top, len(kinds)))
    return tuple(
        Favoured(str(tokenizer.decode([token])), kinds[token], value, float(moved[token]))
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _class_scores(ratios: Tensor, kinds: Sequence[str]) -> dict[str, tuple[float, ...]]:
    ratios = ratios[:, : len(kinds)]
    spread = ratios.std(-1).clamp(min=1e-9)
    scores = {}
    for kind in dict.fromkeys(kinds):
        members = torch.tensor([token for token, own in enumerate(kinds) if own == kind])
        scores[kind] = tuple(((ratios[:, members].mean(-1) - ratios.mean(-1)) / spread).tolist())
    return scores
