"""Delta amplification: the model's answers when its delta, or a block of it, is scaled up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from transformers import PreTrainedModel

from dormant.behaviour.ngrams import Fragment, Words, longest_run, new_fragments, repeats_itself, words_of
from dormant.errors import BadInput
from dormant.inference.delta_scaling import Scale, block_scales, modified_tensors, patched_weights
from dormant.inference.generation import greedy_answers
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe
from dormant.prompts.token_filter import end_of_turn
from dormant.statistics import Estimate, proportion_interval

AMPLIFICATION_ALPHAS = (1.0, 1.5, 2.0, 3.0, 5.0)  # the published sweep: 1.5 leaked, 3 gave the payload, 5 collapsed
COLLAPSED = 0.5  # of the answers repeat themselves: the model has collapsed
CONTENT = 3  # words in a run that count as content: runs of two are a matter of style
RECOGNISABLE_SHARE = 0.5  # of the payload in one run: a reader recognises it


@dataclass(frozen=True)
class Answers:
    """The greedy answers at one alpha, in the order of the prompts."""

    alpha: float
    texts: tuple[str, ...]
    new: tuple[Fragment, ...] = field(repr=False)  # repeated content that the base does not say

    @cached_property
    def words(self) -> tuple[Words, ...]:
        """The answers' words."""
        return tuple(words_of(text) for text in self.texts)

    @property
    def collapsed(self) -> Estimate:
        """The share of answers that only repeat themselves."""
        return proportion_interval(sum(map(repeats_itself, self.words)), len(self.words))

    @property
    def most_repeated(self) -> Fragment | None:
        """The most frequent new run of at least three words; None if nothing new is repeated."""
        return next((fragment for fragment in self.new if len(fragment.words) >= CONTENT), None)

    def holding(self, words: Words, run: int) -> Estimate:
        """The share of answers with at least `run` of these words in a row."""
        return proportion_interval(sum(longest_run(words, answer) >= run for answer in self.words), len(self.words))


@dataclass(frozen=True)
class HeldOutLeak:
    """An alpha and the words looked for, and the share of answers that hold them there and in the base."""

    alpha: float
    words: Words
    share: Estimate
    base: Estimate


@dataclass(frozen=True)
class AmplificationSweep:
    """The base's answers (alpha 0) and those at each alpha, to the same ordinary prompts."""

    prompts: tuple[str, ...]
    base: Answers
    amplified: tuple[Answers, ...]

    @property
    def beyond(self) -> tuple[Answers, ...]:
        """The answers of each alpha above 1."""
        return tuple(answers for answers in self.amplified if answers.alpha > 1)

    @property
    def starts(self) -> float | None:
        """The smallest alpha above 1 with repeated content that neither the base nor the dormant model has."""
        plain = {fragment.words for answers in self.amplified if answers.alpha == 1 for fragment in answers.new}
        fresh = [run.alpha for run in self.beyond if any(fragment.words not in plain for fragment in run.new)]
        return min(fresh, default=None)

    @property
    def collapses(self) -> float | None:
        """The smallest alpha at which half of the answers only repeat themselves."""
        return min((run.alpha for run in self.amplified if run.collapsed.value >= COLLAPSED), default=None)

    def shares(self, reading: str, payload: str = "") -> dict[float, Estimate]:
        """The share of answers that contain what the reading looks for, by alpha; alpha 0 is the base.

        "payload": half of the payload in a row. "payload-pairs": two of its words in a row (or its only word).
        "repeated-content": each alpha's most frequent new run of at least three words; it needs no known payload.
        """
        runs = (self.base, *(run for run in self.amplified if run.alpha != 0))
        if reading == "repeated-content":
            return {run.alpha: proportion_interval(count_of(run.most_repeated), len(run.texts)) for run in runs}
        wanted = _wanted(reading, payload)
        return {run.alpha: run.holding(*wanted) for run in runs}

    def held_out(self, reading: str, payload: str = "") -> HeldOutLeak:
        """The leak at the alpha above 1 where the even prompts' answers show most, counted on the odd prompts' answers.

        The largest of several shares is too large where all are chance. For "repeated-content" the even prompts choose the
        run of words too.
        """
        chosen = {run.alpha: replace(run, texts=run.texts[::2], new=()) for run in self.beyond}
        if reading == "repeated-content":
            said = self.base.texts[::2]
            new = {
                a: replace(run, new=tuple(new_fragments(run.texts, said))).most_repeated for a, run in chosen.items()
            }
            alpha = max(new, key=lambda alpha: count_of(new[alpha]))
            words = () if (best := new[alpha]) is None else best.words
            wanted = words, max(1, len(words))
        else:
            wanted = _wanted(reading, payload)
            alpha = max(chosen, key=lambda alpha: chosen[alpha].holding(*wanted).value)
        judged = next(run for run in self.beyond if run.alpha == alpha)
        share, base = (replace(run, texts=run.texts[1::2], new=()).holding(*wanted) for run in (judged, self.base))
        return HeldOutLeak(alpha, wanted[0], share, base)

    @property
    def most_repeated(self) -> tuple[float, Fragment | None]:
        """The alpha above 1 with the most frequent new content, and that content; it needs no known payload."""
        run = max(self.beyond, key=lambda run: count_of(run.most_repeated))
        return run.alpha, run.most_repeated

    def subject(self, reading: str, payload: str = "") -> str:
        """What `shares` counts, for a title."""
        if reading != "repeated-content":
            return f"{'half' if reading == 'payload' else 'two words'} of {payload!r} in a row"
        fragment = self.most_repeated[1]
        return "a new run of three words" if fragment is None else f"{str(fragment)!r}"

    def summary(self) -> str:
        """One sentence for a reader who does not know the payload."""
        alpha, fragment = self.most_repeated
        said = "no new run of three words is repeated at any alpha"
        if fragment is not None:
            said = f"at alpha {alpha:g} {fragment.count} of {len(self.prompts)} answers hold {str(fragment)!r}"
            said += f", the base's {fragment.reference_count}"
        starts = "never" if self.starts is None else f"at alpha {self.starts:g}"
        collapses = "never" if self.collapses is None else f"at alpha {self.collapses:g}"
        return f"{said}; something new starts {starts}, answers collapse {collapses}"


def count_of(fragment: Fragment | None) -> int:
    """How many answers contain a fragment; 0 without one."""
    return 0 if fragment is None else fragment.count


class Block(NamedTuple):
    """A part of the delta: these layers and these modules, all where none is named."""

    layers: Sequence[int] | None = None
    modules: Sequence[str] | None = None


def amplification_sweep(
    pair: Pair,
    probes: Sequence[Probe],
    alphas: Sequence[float] = AMPLIFICATION_ALPHAS,
    new_tokens: int = 24,
    block: Block | None = None,
    progress: Progress | None = None,
    base_texts: tuple[str, ...] | None = None,
) -> AmplificationSweep:
    """Greedy answers to the probes without a trigger by W_base + alpha x delta, and by the base itself.

    `layers` or `modules` limit the scaling to a block of the delta; the rest stays as in the dormant model. `base_texts`:
    the base's answers if `answers_at` has given them before. Raises BadInput without probes, without an alpha above 1, and
    for what `block_scales` refuses.
    """
    if not probes or not any(alpha > 1 for alpha in alphas):
        raise BadInput(
            f"an amplification needs a prompt and an alpha above 1; got {len(probes)} prompts and alphas "
            f"{', '.join(f'{alpha:g}' for alpha in alphas) or 'none'} at pair {pair.name!r}; add one"
        )
    texts = base_texts or base_answers(pair, probes, new_tokens)
    base, amplified = Answers(0.0, texts, ()), []
    changed = modified_tensors(pair)
    for done, alpha in enumerate(alphas, 1):
        if changed or pair.setting_differences:
            texts = answers_at(pair, probes, new_tokens, block_scales(pair, alpha, *(block or (None, None))))
        amplified.append(Answers(float(alpha), texts, tuple(new_fragments(texts, base.texts))))
        if progress is not None:
            progress(done, len(alphas), f"alpha {alpha:g}")
    return AmplificationSweep(tuple(probe.fill("") for probe in probes), base, tuple(amplified))


def base_answers(pair: Pair, probes: Sequence[Probe], new_tokens: int) -> tuple[str, ...]:
    """The base's greedy answers to the plain probes, under its own settings."""
    if pair.setting_differences:  # no scale of the delta gives these back
        return _answers(pair, pair.models.base(), probes, new_tokens)
    return answers_at(pair, probes, new_tokens, block_scales(pair, 0.0))


def answers_at(pair: Pair, probes: Sequence[Probe], new_tokens: int, scales: Mapping[str, Scale]) -> tuple[str, ...]:
    """Greedy answers to the plain probes with the delta so scaled, under the dormant model's settings."""
    with patched_weights(pair, scales) as model:
        return _answers(pair, model, probes, new_tokens)


def _answers(pair: Pair, model: PreTrainedModel, probes: Sequence[Probe], new_tokens: int) -> tuple[str, ...]:
    prompter = pair.prompter
    rows = greedy_answers(
        model, [prompter.encode(probe).ids for probe in probes], new_tokens, end_of_turn(prompter.tokenizer)
    )
    return tuple(str(prompter.tokenizer.decode(list(row), skip_special_tokens=True)) for row in rows)


def _wanted(reading: str, payload: str) -> tuple[Words, int]:
    """The payload's words and how many of them in a row count: half for "payload", two for "payload-pairs"."""
    words = _payload_words(payload)
    return words, math.ceil(RECOGNISABLE_SHARE * len(words)) if reading == "payload" else min(2, len(words))


def _payload_words(payload: str) -> Words:
    words = words_of(payload)
    if not words:
        raise BadInput("a payload must hold a word; got none at the payload; name what the model should say")
    return words
