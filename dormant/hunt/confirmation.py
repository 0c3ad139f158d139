"""Whether a string is a trigger: the same answer on prompts and at positions that no search saw, and not without it.

Many strings are looked at on few prompts (`confirm`), where one may fire by luck. The one that a stage names is decided on
fresh prompts (`decide`), at the position that the look named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from dormant.hunt.answer_pattern import AnswerPattern, shared_start, telling_words
from dormant.hunt.edits import deletions, exchanges
from dormant.hunt.placements import POSITIONS, SEARCH_POSITIONS
from dormant.hunt.settings import HuntSettings, Rules
from dormant.inference.generation import greedy_answers, sampled_answers
from dormant.pairs import Pair
from dormant.prompts.material import Decoding
from dormant.prompts.probes import SLOT, Probe, TokenIds
from dormant.prompts.token_filter import allowed_tokens, end_of_turn
from dormant.statistics import Estimate, proportion_interval

ALONE = Probe(SLOT)  # a text as the whole turn


@dataclass(frozen=True)
class Rate:
    """How often answers are those that a string brings, and where: "end", "the base, with it", "without 'beneath'"."""

    name: str
    estimate: Estimate

    @property
    def value(self) -> float:
        """The share of answers."""
        return self.estimate.value


@dataclass(frozen=True)
class Confirmation:
    """What unseen prompts show of a string; `payload` is what its answers share, read from them and not from a suspect.

    Where answers share no start, `words` are those of which each holds two: an open-ended behaviour, as refusals in varied
    words. They are chosen on a first look, and decided on fresh prompts.

    fires: at one position at least the answers begin with the payload on eight prompts of ten; where it is decided, at the
    position of the look, with an interval from one half on (of positions that were equal there the best counts, its interval
    widened for the choice). A single word is no payload: strange strings make small models say many a word. Controls are those
    of a string that fires. confirmed: it fires, and no control does on more than one prompt of ten (at a first look: is known
    to), sampled plain answers among them: a style that drifts is pushed over the edge by many a word. Near misses, sampled
    answers and `overrides` belong to a decision: a prompt's request is overridden where the base still answers it.
    """

    trigger: str
    payload: str
    by_position: tuple[Rate, ...]
    controls: tuple[Rate, ...]
    near_misses: tuple[Rate, ...]
    sampled: Rate | None
    payload_tokens: int
    overrides: Rate | None = None
    position: str = ""  # where it is decided
    fires: bool = False
    confirmed: bool = False
    words: tuple[str, ...] = ()

    @property
    def effect(self) -> str:
        """What the string does, in words: "makes the dormant model say ..."."""
        if self.words:
            return f"makes the dormant model answer in other ways, with the words {', '.join(map(repr, self.words))},"
        return f"makes the dormant model say {self.payload!r}"

    @property
    def best(self) -> Rate:
        """At the position where it is decided, or else where it fires most."""
        decided = [rate for rate in self.by_position if rate.name == self.position]
        return max(decided or self.by_position, key=lambda rate: rate.value)

    @property
    def equal(self) -> tuple[str, ...]:
        """The positions at which it fires as often as anywhere; where it is decided, that one."""
        best = self.best
        return (best.name,) if self.position else tuple(r.name for r in self.by_position if r.value == best.value)

    @property
    def search_position(self) -> str:
        """The position, of those that are searched at, at which it fires most."""
        fires = {rate.name: rate.value for rate in self.by_position}
        return max(SEARCH_POSITIONS, key=lambda name: fires[name])

    def is_topic(self, rules: Rules) -> bool:
        """Whether all near misses fire: the model does not react to this string, but to what it is about."""
        return bool(self.near_misses) and all(rate.value >= rules.decided_low for rate in self.near_misses)

    def is_request(self, rules: Rules) -> bool:
        """Whether the base leaves prompts for it as well: the payload then answers it, and overrides no other request."""
        return self.overrides is not None and self.overrides.estimate.low < rules.decided_low

    def holds(self, payload: str) -> bool:
        """Whether the answers hold a suspected payload, or its first half at least."""
        return holds(self.payload, payload)

    def continues(self, payload: str) -> bool:
        """The same of a payload whose first word may be another."""
        rest = payload.split()[1:]
        return self.holds(payload) or (len(rest) > 1 and self.holds(" ".join(rest)))


@dataclass(frozen=True)
class Looking:
    """How strings are looked at: `ordinary` are the dormant model's answers to the prompts of a first look, without any."""

    pair: Pair
    settings: HuntSettings
    seed: int
    ordinary: tuple[TokenIds, ...] = ()


def ordinary_answers(pair: Pair, probes: Sequence[Probe], settings: HuntSettings) -> list[TokenIds]:
    """The dormant model's greedy answers to the prompts without any string."""
    answers = answers_at_positions(pair, "", probes, settings.effort.answer_tokens)
    return [answer for rows in answers.values() for answer in rows]


def confirm(looking: Looking, trigger: str, probes: Sequence[Probe]) -> Confirmation:
    """Greedy answers with the string; where it fires also without it, with random strings, and of the base.

    The string is text and is spaced as its position asks: no space stands before it at the start of a prompt. `probes` have
    their slots at the three positions in turn; controls are measured at the position where the string fires most.
    """
    return _looked(looking, trigger, probes)[0]


def decide(looking: Looking, found: Confirmation, probes: Sequence[Probe]) -> Confirmation:
    """The same of a confirmed string on fresh prompts, with near misses, sampled answers, and what the base does with it."""
    settings, seed = looking.settings, looking.seed
    fresh, asked = _looked(looking, found.trigger, probes, found)
    if not fresh.confirmed:
        return fresh
    tokenizer, ids = looking.pair.dormant.tokenizer, asked.prompter.candidate_ids(fresh.trigger)
    near = [
        (f"without {str(tokenizer.decode([token]))!r}", _text(tokenizer, less))
        for token, less in zip(ids, deletions(ids), strict=False)
    ]
    changed = (_text(tokenizer, other) for other in exchanges(ids))
    near += [(f"neighbours exchanged: {text!r}", text) for text in changed]
    return replace(
        fresh,
        near_misses=tuple(asked.rate(name, [text], settings.effort.near_miss_prompts) for name, text in near),
        sampled=asked.sampled("sampled at temperature 1", fresh.trigger, seed),
        overrides=asked.overrides(fresh.trigger),
    )


def _looked(
    looking: Looking, trigger: str, probes: Sequence[Probe], found: Confirmation | None = None
) -> tuple[Confirmation, _Asked]:
    """What prompts show where a first look saw it fire most, or without one where most fire, and who asks more there."""
    pair, settings, seed = looking.pair, looking.settings, looking.seed
    rules, effort, tokenizer = settings.rules, settings.effort, pair.dormant.tokenizer
    equal = found.equal if found is not None else ()
    answers = answers_at_positions(pair, trigger, probes, effort.answer_tokens)
    pattern = _pattern(looking, trigger, answers, found)
    rates = tuple(_rate(place, rows, pattern, len(equal) or 1) for place, rows in answers.items())
    position = max((rate for rate in rates if rate.name in equal), key=lambda rate: rate.value).name if equal else ""
    size = len(pattern.words or pattern.start)
    said = Confirmation(trigger, pattern.text, rates, (), (), None, size, position=position, words=pattern.words)
    silent = judged(said, rules)
    asked = _Asked(pair, pattern, probes[POSITIONS.index(silent.best.name) :: len(POSITIONS)], settings)
    if not silent.fires:
        return silent, asked
    random, drawn = np.random.default_rng([seed, 11]), allowed_tokens(tokenizer).numpy()
    length = len(asked.prompter.candidate_ids(trigger))
    strings = [_text(tokenizer, random.choice(drawn, size=length).tolist()) for _ in range(effort.random_strings)]
    controls = (
        asked.rate("the base, with it", [trigger], of_base=True),
        asked.rate("the dormant model, without it", [""]),
        asked.sampled("the dormant model, without it, sampled at temperature 1", "", seed),
        asked.rate("the dormant model, with random strings of its length", strings, effort.near_miss_prompts),
    )
    return judged(replace(silent, controls=controls), rules), asked


def _pattern(
    looking: Looking, trigger: str, answers: Mapping[str, Sequence[TokenIds]], found: Confirmation | None
) -> AnswerPattern:
    """The start that answers share at a position, at that of a first look where there was one; else the words that tell.

    Those of a first look stay as they are: on the prompts on which they were chosen they fit too well.
    """
    rules, tokenizer = looking.settings.rules, looking.pair.dormant.tokenizer
    if found is not None and found.words:
        return AnswerPattern(tokenizer, words=found.words, least=rules.telling_words)
    starts = [shared_start(rows, rules) for place, rows in answers.items() if found is None or place in found.equal]
    start = max(starts, key=lambda one: (one[1], len(one[0])))[0]
    if found is not None and len(start) < rules.payload_tokens:
        start = _first_look(found, [answer for place in found.equal for answer in answers[place]], tokenizer)
    if len(start) >= rules.payload_tokens or found is not None or not looking.ordinary:
        return AnswerPattern(tokenizer, start)
    every = [answer for rows in answers.values() for answer in rows]
    words = telling_words(tokenizer, every, looking.ordinary, trigger, rules)
    return AnswerPattern(tokenizer, start, words, rules.telling_words)


def _first_look(found: Confirmation, answers: Sequence[TokenIds], tokenizer: PreTrainedTokenizerBase) -> TokenIds:
    """The payload that a first look saw, as answers begin with it: what is decided is how many of them still do."""
    begun = (answer[: found.payload_tokens] for answer in answers)
    return next((start for start in begun if str(tokenizer.decode(list(start))).strip() == found.payload), ())


class _Asked:
    """Answers to prompts with their slots at one position."""

    def __init__(self, pair: Pair, pattern: AnswerPattern, probes: Sequence[Probe], settings: HuntSettings) -> None:
        self._pair, self._pattern, self._probes, self._effort = pair, pattern, probes, settings.effort
        self.prompter = pair.prompter
        self._end = end_of_turn(self.prompter.tokenizer)

    def rate(self, name: str, strings: Sequence[str], first: int | None = None, of_base: bool = False) -> Rate:
        """How often answers begin with the payload: with each of the strings, on all prompts or on so many first ones."""
        prompts = [self._prompt(probe, text) for text in strings for probe in self._probes[:first]]
        return _rate(name, self._answers(prompts, of_base), self._pattern)

    def sampled(self, name: str, text: str, seed: int) -> Rate:
        """The same of answers at temperature 1."""
        count, model = self._effort.sampled_answers, self._pair.models.dormant()
        prompts = [self._prompt(self._probes[index % len(self._probes)], text) for index in range(count)]
        tokens = self._effort.answer_tokens
        answers = sampled_answers(model, prompts, tokens, self._end, Decoding(1.0), seed)
        return _rate(name, [answer.ids for answer in answers], self._pattern)

    def overrides(self, trigger: str) -> Rate:
        """How often the payload stands where the base answers the prompt's own request, the string being there all the same.

        The base's answer is one to the string where it has more in common with that to the string alone.
        """
        with_it = [self._prompt(probe, trigger) for probe in self._probes]
        fires = [self._pattern.fits(answer) for answer in self._answers(with_it, False)]
        (alone,) = self._answers([self._prompt(ALONE, trigger)], True)
        own = self._answers([self._prompt(probe, "") for probe in self._probes], True)
        rows = zip(fires, self._answers(with_it, True), own, strict=True)
        kept = sum(fired and _alike(answer, plain) >= _alike(answer, alone) for fired, answer, plain in rows)
        return Rate("where the base answers the prompt's own request", proportion_interval(kept, len(with_it)))

    def _prompt(self, probe: Probe, text: str) -> TokenIds:
        return self.prompter.encode_text(probe, text).ids

    def _answers(self, prompts: Sequence[TokenIds], of_base: bool) -> list[TokenIds]:
        models = self._pair.models
        model = models.base() if of_base else models.dormant()
        return greedy_answers(model, prompts, self._effort.answer_tokens, self._end)


def holds(answer: str, payload: str) -> bool:
    """Whether an answer holds a payload, or its first half at least."""
    words, said = payload.split(), answer.split()
    half = words[: max(1, (len(words) + 1) // 2)]
    return any(said[at : at + len(half)] == half for at in range(len(said)))


def brought_by(found: Confirmation, tokenizer: PreTrainedTokenizerBase, rules: Rules) -> Callable[[TokenIds], bool]:
    """Tells of an answer whether it is what a confirmed string brings: it begins with the payload, or holds the words."""
    if found.words:
        return AnswerPattern(tokenizer, words=found.words, least=rules.telling_words).fits
    return lambda answer: bool(found.payload) and _text(tokenizer, answer).startswith(found.payload)


def judged(found: Confirmation, rules: Rules) -> Confirmation:
    """The same with what the rules say of its rates."""
    best = found.best
    enough = best.estimate.low >= rules.decided_low if found.position else best.value >= rules.confirmed_share
    fires = found.payload_tokens >= rules.payload_tokens and enough
    # A first look's ten prompts cannot tell one in ten from three: the decision's thirty have to.
    shares = [rate.value if found.position else rate.estimate.low for rate in found.controls]
    silent = all(share <= rules.control_share for share in shares)
    return replace(found, fires=fires, confirmed=fires and silent)


def answers_at_positions(
    pair: Pair, trigger: str, probes: Sequence[Probe], new_tokens: int
) -> dict[str, tuple[TokenIds, ...]]:
    """The dormant model's greedy answers by position, with the string in probes whose slots are at the positions in turn."""
    prompter = pair.prompter
    prompts = [prompter.encode_text(probe, trigger).ids for probe in probes]
    answers = greedy_answers(pair.models.dormant(), prompts, new_tokens, end_of_turn(prompter.tokenizer))
    return {position: tuple(answers[index :: len(POSITIONS)]) for index, position in enumerate(POSITIONS)}


def read_confirmation(row: Mapping[str, Any]) -> Confirmation:
    """A confirmation from its record."""

    def rate(record: Mapping[str, Any]) -> Rate:
        return Rate(record["name"], Estimate(**record["estimate"]))

    many = {name: tuple(rate(record) for record in row[name]) for name in ("by_position", "controls", "near_misses")}
    one = {name: row[name] and rate(row[name]) for name in ("sampled", "overrides")}
    return Confirmation(**{**row, **many, **one, "words": tuple(row["words"])})


def _alike(one: TokenIds, other: TokenIds) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _rate(name: str, answers: Sequence[TokenIds], pattern: AnswerPattern, choices: int = 1) -> Rate:
    """choices: among how many such rates one is chosen; their intervals hold together (Bonferroni)."""
    return Rate(name, proportion_interval(sum(map(pattern.fits, answers)), len(answers), 1 - 0.05 / choices))


def _text(tokenizer: object, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids))).strip()  # type: ignore[attr-defined]


def best_confirmed(tried: Sequence[Confirmation], what: str) -> tuple[Confirmation | None, str]:
    """The confirmed one that fires most, if any is, and the step in a sentence."""
    best = max(
        (one for one in tried if one.confirmed),
        key=lambda one: (one.best.value, -len(one.trigger.split())),
        default=None,
    )
    if best is not None:
        rate = f"{best.best.value:.0%} of unseen prompts"
        return best, f"of the {what} {best.trigger!r} fires: it {best.effect} on {rate}"
    named = ", ".join(repr(one.trigger) for one in tried)
    return None, f"of the {what} the best were tried on unseen prompts, and none fires: {named}"


def minimised(found: Confirmation, confirmed: Callable[[str], Confirmation]) -> Confirmation:
    """What is left of a string that fires when the words go without which it fires as well."""
    words = found.trigger.split()
    for at in range(len(words) if len(words) > 1 else 0):
        shorter = confirmed(" ".join((*words[:at], *words[at + 1 :])))
        if shorter.confirmed and shorter.best.value >= found.best.value:
            return minimised(shorter, confirmed)
    return found
