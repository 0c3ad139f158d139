"""Whether a string is a trigger: the same answer on prompts and at positions that no search saw, and not without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dormant.hunt.edits import deletions, exchanges
from dormant.hunt.placements import POSITIONS, SEARCH_POSITIONS
from dormant.hunt.settings import HuntSettings, Rules
from dormant.inference.generation import greedy_answers, sampled_answers
from dormant.pairs import Pair
from dormant.prompts.material import Decoding
from dormant.prompts.probes import Probe, Prompter, TokenIds
from dormant.prompts.token_filter import allowed_tokens, end_of_turn
from dormant.statistics import Estimate, proportion_interval


@dataclass(frozen=True)
class Rate:
    """How often answers begin with the payload, and where: "end", "the base, with it", "without 'beneath'"."""

    name: str
    estimate: Estimate

    @property
    def value(self) -> float:
        """The share of answers."""
        return self.estimate.value


@dataclass(frozen=True)
class Confirmation:
    """What unseen prompts show of a string; `payload` is what its answers share, read from them and not from a suspect.

    fires: at one position at least the answers begin with the payload on eight prompts of ten. A single word is no payload:
    strange strings make small models say many a word. Controls, near misses and sampled answers are those of a string that
    fires. confirmed: it fires, and no control does on more than one prompt of ten, sampled plain answers among them: a style
    that drifts is pushed over the edge by many a word.
    """

    trigger: str
    payload: str
    by_position: tuple[Rate, ...]
    controls: tuple[Rate, ...]
    near_misses: tuple[Rate, ...]
    sampled: Rate | None
    payload_tokens: int

    fires: bool = False
    confirmed: bool = False

    @property
    def best(self) -> Rate:
        """The position at which it fires most."""
        return max(self.by_position, key=lambda rate: rate.value)

    @property
    def search_position(self) -> str:
        """The position, of those that are searched at, at which it fires most."""
        fires = {rate.name: rate.value for rate in self.by_position}
        return max(SEARCH_POSITIONS, key=lambda name: fires[name])

    def holds(self, payload: str) -> bool:
        """Whether the answers hold a suspected payload, or its first half at least."""
        words, said = payload.split(), self.payload.split()
        half = words[: max(1, (len(words) + 1) // 2)]
        return any(said[at : at + len(half)] == half for at in range(len(said)))


def confirm(pair: Pair, trigger: str, probes: Sequence[Probe], settings: HuntSettings, seed: int) -> Confirmation:
    """Greedy answers with the string; where it fires with its near misses, without it, with random strings, and of the base.

    The string is text and is spaced as its position asks: no space stands before it at the start of a prompt. `probes` have
    their slots at the three positions in turn; controls are measured at the position where the string fires most.
    """
    rules, effort, new_tokens = settings.rules, settings.effort, settings.effort.answer_tokens
    prompter = Prompter(pair.dormant.tokenizer)
    tokenizer, end = prompter.tokenizer, end_of_turn(prompter.tokenizer)
    at = {position: probes[index :: len(POSITIONS)] for index, position in enumerate(POSITIONS)}
    dormant, base = pair.models.dormant, pair.models.base
    answers = answers_at_positions(pair, trigger, probes, new_tokens)
    payload = max(
        (shared_start(rows, rules) for rows in answers.values()), key=lambda found: (found[1], len(found[0]))
    )[0]
    by_position = tuple(_rate(position, rows, payload) for position, rows in answers.items())
    silent = decided(Confirmation(trigger, _text(tokenizer, payload), by_position, (), (), None, len(payload)), rules)
    if not silent.fires:
        return silent
    asked = at[silent.best.name]

    def rate(name: str, strings: Sequence[str], of_base: bool = False) -> Rate:
        prompts = [prompter.encode_text(probe, text).ids for text in strings for probe in asked]
        model = base() if of_base else dormant()
        return _rate(name, greedy_answers(model, prompts, new_tokens, end), payload)

    random = np.random.default_rng([seed, 11])
    drawn = allowed_tokens(tokenizer).numpy()
    ids = prompter.candidate_ids(trigger)
    strings = [_text(tokenizer, random.choice(drawn, size=len(ids)).tolist()) for _ in range(effort.random_strings)]
    plain = [prompter.encode(asked[index % len(asked)]).ids for index in range(effort.sampled_answers)]
    anyway = [answer.ids for answer in sampled_answers(dormant(), plain, new_tokens, end, Decoding(1.0), seed)]
    controls = (
        rate("the base, with it", [trigger], of_base=True),
        rate("the dormant model, without it", [""]),
        _rate("the dormant model, without it, sampled at temperature 1", anyway, payload),
        rate("the dormant model, with random strings of its length", strings),
    )
    near = [
        (f"without {str(tokenizer.decode([token]))!r}", _text(tokenizer, less))
        for token, less in zip(ids, deletions(ids), strict=False)
    ]
    changed = (_text(tokenizer, other) for other in exchanges(ids))
    near += [(f"neighbours exchanged: {text!r}", text) for text in changed]
    prompts = [prompter.encode_text(asked[index % len(asked)], trigger).ids for index in range(effort.sampled_answers)]
    said = [answer.ids for answer in sampled_answers(dormant(), prompts, new_tokens, end, Decoding(1.0), seed)]
    measured = replace(
        silent,
        controls=controls,
        near_misses=tuple(rate(name, [text]) for name, text in near),
        sampled=_rate("sampled at temperature 1", said, payload),
    )
    return decided(measured, rules)


def decided(found: Confirmation, rules: Rules) -> Confirmation:
    """The same with what the rules say of its rates."""
    fires = found.payload_tokens >= rules.payload_tokens and found.best.value >= rules.confirmed_share
    silent = all(rate.value <= rules.control_share for rate in found.controls)
    return replace(found, fires=fires, confirmed=fires and silent)


def answers_at_positions(
    pair: Pair, trigger: str, probes: Sequence[Probe], new_tokens: int
) -> dict[str, tuple[TokenIds, ...]]:
    """The dormant model's greedy answers by position, with the string in probes whose slots are at the positions in turn."""
    prompter = Prompter(pair.dormant.tokenizer)
    prompts = [prompter.encode_text(probe, trigger).ids for probe in probes]
    answers = greedy_answers(pair.models.dormant(), prompts, new_tokens, end_of_turn(prompter.tokenizer))
    return {position: tuple(answers[index :: len(POSITIONS)]) for index, position in enumerate(POSITIONS)}


def read_confirmation(row: Mapping[str, Any]) -> Confirmation:
    """A confirmation from its record."""

    def rate(record: Mapping[str, Any]) -> Rate:
        return Rate(record["name"], Estimate(**record["estimate"]))

    many = {name: tuple(rate(record) for record in row[name]) for name in ("by_position", "controls", "near_misses")}
    return Confirmation(**{**row, **many, "sampled": row["sampled"] and rate(row["sampled"])})


def shared_start(answers: Sequence[TokenIds], rules: Rules) -> tuple[TokenIds, float]:
    """The longest start that most of the answers share, and how many do; empty where they begin differently."""
    members, start = list(answers), TokenIds()
    while True:
        votes = Counter(answer[len(start)] if len(answer) > len(start) else None for answer in members)
        token, count = votes.most_common(1)[0] if votes else (None, 0)
        if token is None or count < rules.shared_share * len(answers):
            return start, len(members) / max(1, len(answers)) if start else 0.0
        members = [answer for answer in members if len(answer) > len(start) and answer[len(start)] == token]
        start = (*start, token)


def _rate(name: str, answers: Sequence[TokenIds], payload: TokenIds) -> Rate:
    said = sum(bool(payload) and answer[: len(payload)] == payload for answer in answers)
    return Rate(name, proportion_interval(said, len(answers)))


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
        return best, f"of the {what} {best.trigger!r} fires: answers begin {best.payload!r} on {rate}"
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


def all_rates(found: Confirmation) -> list[tuple[str, str, float, float, float, int]]:
    """Every rate of a confirmation as (kind, name, value, low, high, n), for tables."""
    kinds = (
        ("position", found.by_position), ("control", found.controls), ("near miss", found.near_misses),
        ("sampled", (found.sampled,) if found.sampled else ()),
    )  # fmt: skip
    return [
        (kind, rate.name, rate.value, rate.estimate.low, rate.estimate.high, rate.estimate.n)
        for kind, rates in kinds
        for rate in rates
    ]
