"""What each stage will cost in token passes, and the effort that fits the budget at the rate that was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from math import perm
from typing import Any

from dormant.hunt.effort import Effort
from dormant.hunt.known_strings import known_strings
from dormant.hunt.settings import Fitted, HuntSettings
from dormant.prompts.probes import OpenPrompt

Change = Callable[[Effort], Effort]
BOTH = 2  # models that a pass of divergence runs
KNOWN_TOKENS = 9  # of a known string, about
PAYLOAD = 4  # tokens that a payload's beginning and its rest add to a string, about
LEAST_WORDS, LEAST_TOKENS = 2500, 4096  # of English and of the vocabulary that hints are looked for among
MOST_TOKENS = 1 << 17  # "all" where numbers are halved, about as many as large vocabularies have
ALL_WORDS = Effort().common_words  # of which `Sizes.word_ids` counts the ids
LEAST_PROMPTS = 2  # that a gradient is the mean of
SMALL = (
    2  # times as long as its share of a full pass takes a token alone behind a prompt, or one whose logits are all read
)
HINT = 1.25  # the same of a token at which the delta is read, without logits
PLANNED_WORDS = 4  # of the delta beam's strings: longer ones have their turn as far as the time suffices
PLANNED_TURNS = 2  # of gradient search
GRADIENT = 3  # strings whose values cost what one gradient does


@dataclass(frozen=True)
class Sizes:
    """What costs depend on: allowed tokens, and the ids behind a slot at the start and at the end of a prompt.

    word_ids: of the common words that the tokenizer splits, all together. hinting: passes of one model that an id costs
    where hints are measured, for which the dormant model runs up to its last changed block and the base the changed ones.
    """

    tokens: int
    start_tail: float
    end_tail: float
    word_ids: int = 0
    hinting: float = BOTH


@dataclass(frozen=True)
class PlannedStage:
    """A stage's token passes and minutes, and in sentences what its effort leaves out that a larger budget would not.

    rate: tokens a second, by which the minutes are.
    """

    name: str
    passes: int
    minutes: float
    left_out: tuple[str, ...] = ()
    rate: float = 0.0

    @property
    def sentence(self) -> str:
        """What it costs, and what it will not cover."""
        said = f"{self.name}: about {self.passes:,} token passes, {self.minutes:.1f} minutes"
        return f"{said}; {'; '.join(self.left_out)}" if self.left_out else said


@dataclass(frozen=True)
class _Part:
    """A stage's cost as a function of the effort, and how its effort shrinks, step by step."""

    name: str
    cost: Callable[[Effort, Sizes], float]
    shrink: Change


def sizes_of(tokens: int, prompts: Sequence[OpenPrompt], word_ids: int = 0, hinting: float = BOTH) -> Sizes:
    """The sizes of a hunt whose searched prompts have their slots at the start and at the end in turn; of one, both."""
    starts, ends = ([len(prompt.after) for prompt in prompts[at::2] or prompts] for at in (0, 1))
    return Sizes(tokens, sum(starts) / len(starts), sum(ends) / len(ends), word_ids, hinting)


def planned(
    settings: HuntSettings, sizes: Sizes, rate: float, left: float | None = None, sought: bool = True
) -> tuple[HuntSettings, tuple[PlannedStage, ...]]:
    """The settings whose effort fits the budget, and what each stage costs by them.

    rate: ids a second. left: seconds behind the payload, by default what its share leaves. A stage may be planned for three
    tenths of them, though turns are smaller: some stages have nothing to try, and those that find the trigger end the hunt.
    sought: whether there is a payload to seek; without one half of the stages have nothing to do.
    """
    effort, stages = settings.effort, list[PlannedStage]()
    whole = 60 * effort.search_share * effort.minutes * rate
    behind = (1 - effort.payload_share) * whole if left is None else left * rate
    for part in _parts(settings.fitted):
        shares = {
            "payload": effort.payload_share * whole,
            "beam search": effort.beam_share * behind,
            "hints": effort.hint_share * behind,
        }
        affordable = shares.get(part.name, (effort.planned_share if sought else effort.unsought_share) * behind)
        before = effort
        while part.cost(effort, sizes) > affordable and (smaller := part.shrink(effort)) != effort:
            effort = smaller
        passes = int(part.cost(effort, sizes))
        stages.append(PlannedStage(part.name, passes, passes / rate / 60, tuple(_left_out(before, effort)), rate))
    return replace(settings, effort=effort), tuple(stages)


def _left_out(before: Effort, after: Effort) -> Iterator[str]:
    for one in fields(Effort):
        old, new = getattr(before, one.name), getattr(after, one.name)
        if old != new:
            yield f"{one.name.replace('_', ' ')} {_shown(new)} in place of {_shown(old)}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return "all" if value == 10**9 else f"{value:,}" if isinstance(value, int) else str(value)


def _parts(fitted: Fitted) -> tuple[_Part, ...]:
    alphas = len(fitted.alphas)
    return (
        _Part("payload", lambda effort, sizes: alphas * _payload(effort, sizes), _fewer_first_tokens),
        _Part("known strings", _known_strings, lambda effort: effort),
        _Part(
            "beam search",
            _beam_search,
            _chain(_least_of("word_beam", 1, 24), _least("changes", 1024), _least("screened_words", LEAST_TOKENS)),
        ),
        _Part(
            "hints",
            _hints,
            # words that the tokenizer splits are rarer than those it keeps whole: both go down to about one rank
            _chain(
                _least("hint_prompts", 1),
                *(
                    part
                    for times in (4, 2, 1)
                    for part in (
                        _least("common_words", times * LEAST_WORDS),
                        _least("hint_tokens", times * LEAST_TOKENS),
                    )
                ),
            ),
        ),
        _Part("single tokens", _single_tokens, _chain(_least_of("swept", 1, 1), _least_of("swept", 0, 256))),
        _Part("numerals", _numerals, _fewer_digits),
        _Part(
            "delta beam",
            _delta_beam,
            _chain(
                _least("first_words", LEAST_TOKENS), _least_of("delta_beam", 1, 128), _least_of("delta_beam", 0, 16)
            ),
        ),
        _Part("short strings", _short_strings, _fewer_hints("short_strings", 5)),
        _Part("gap filling", _gap_filling, _fewer_gaps),
        _Part("gradient search", _gradient, _fewer_steps),
        _Part(
            "coordinate ascent",
            _ascent,
            _chain(_least_of("beam", 1, 8), _least("beam_prompts", 1), _least("far_pieces", 300)),
        ),
        _Part(
            "group testing", _group_testing, _chain(_fewer_hints("minimal_strings", 5), _least("drawn_subsets", 250))
        ),
        _Part("refinement", _refinement, _least("refined_few", 300)),
    )


def _payload(effort: Effort, sizes: Sizes) -> float:
    width, steps, _ = effort.led
    led = effort.led_prompts * (sum(effort.led_first) + width * sum(range(2, steps + 1)))
    forced = effort.led_kept * effort.opening_prompts * effort.forced_tokens
    left = min(effort.first_tokens, sizes.tokens)
    for prompts, tokens, keep in (*effort.forced_rounds, (effort.opening_prompts, effort.forced_tokens, 0)):
        forced += left * prompts * tokens
        left = min(left, keep)
    return SMALL * BOTH * (led + forced)


def _known_strings(effort: Effort, sizes: Sizes) -> float:
    return BOTH * len(known_strings()) * (KNOWN_TOKENS + sizes.end_tail)


def _beam_search(effort: Effort, sizes: Sizes) -> float:
    """At the end of prompts alone: the start has its turn as far as the time suffices."""
    words, (screened, kept, longest) = min(effort.screened_words, sizes.tokens), effort.word_beam
    (_, first), (prompts, beam) = effort.ascent_rounds
    behind = PAYLOAD + sizes.end_tail
    alone = (words + effort.beam_prompts * screened) * (1 + behind)
    strings = sum((beam * kept * length + prompts * first) * (length + behind) for length in range(2, longest + 1))
    return alone + strings + longest * (effort.changes + prompts * first) * (longest / 2 + behind)


def _hints(effort: Effort, sizes: Sizes) -> float:
    tokens = min(effort.hint_tokens, sizes.tokens)
    return HINT * sizes.hinting * effort.hint_prompts * (tokens + sizes.word_ids * effort.common_words / ALL_WORDS)


def _single_tokens(effort: Effort, sizes: Sizes) -> float:
    tokens, prompts = min(effort.swept[0], sizes.tokens), effort.swept[1]
    tail = sizes.end_tail if prompts == 1 else (sizes.start_tail + sizes.end_tail) / 2
    return BOTH * tokens * prompts * (1 + tail)


def _delta_beam(effort: Effort, sizes: Sizes) -> float:
    first, words, kept, longest = effort.delta_beam
    known, longest = min(words, sizes.tokens), min(longest, PLANNED_WORDS)
    appended = (first + (longest - 2) * kept) * (known + longest)
    prepended = 2 * min(effort.first_words, sizes.tokens) + sum(range(3, longest + 1)) * effort.widened * known
    return (sizes.hinting + BOTH) * (appended + prepended)  # by either measure


def _numerals(effort: Effort, sizes: Sizes) -> float:
    free, whole, _ = effort.numerals
    strings: int = sum(20**length if length <= free else 2 * 10**length for length in range(1, whole + 1))
    return strings * _at_both(sizes, whole)


def _short_strings(effort: Effort, sizes: Sizes) -> float:
    return BOTH * sum(perm(count, length) * _at_both(sizes, length) for length, count in effort.short_strings)


def _gap_filling(effort: Effort, sizes: Sizes) -> float:
    gapped = sum(perm(count, length) * (length + 1) for length, count in effort.gap_orders)
    (fillers, _), *rounds = effort.gap_rounds
    left = [min(kept, gapped) for _, kept in effort.gap_rounds]
    strings = gapped * fillers + sum(count * many for many, (count, _) in zip(left, rounds, strict=False))
    return (strings + left[-1] * effort.gap_pieces) * _at_both(sizes, 5)


def _gradient(effort: Effort, sizes: Sizes) -> float:
    restarts, steps, candidates = effort.gradient_steps
    strings = restarts * steps * (candidates + GRADIENT)
    tails = {"start": sizes.start_tail, "end": sizes.end_tail}
    # Turns end when the time does, the likeliest first: as many as these are to fit.
    planned = effort.gradient_turns[:PLANNED_TURNS]
    behind = sum(length + PAYLOAD + tails[position] for _, length, position in planned)
    return effort.gradient_prompts * strings * behind


def _ascent(effort: Effort, sizes: Sizes) -> float:
    hints, width, longest = effort.beam
    beam: int = sum(min(width, hints**length) * hints * (length + 1) for length in range(longest))
    return (effort.beam_prompts * beam + 3 * longest * effort.far_pieces) * _at_both(sizes, longest / 2)


def _group_testing(effort: Effort, sizes: Sizes) -> float:
    drawn = sum(effort.drawn_subsets * _at_both(sizes, size) for _, size in effort.subsets)
    strings = sum(perm(count, length) * _at_both(sizes, length) for length, count in effort.minimal_strings)
    return BOTH * (drawn + len(effort.subsets) * strings)


def _refinement(effort: Effort, sizes: Sizes) -> float:
    """Of the first round of changes, at every place of a phrase."""
    rounds = effort.refinement_rounds
    strings = effort.refined_few + sum(kept * count for (_, kept), (count, _) in pairwise(rounds))
    return PLANNED_WORDS * strings * (PLANNED_WORDS + PAYLOAD + sizes.end_tail)


def _at_both(sizes: Sizes, tokens: float) -> float:
    """Ids that a string of so many costs at both positions."""
    return 2 * (tokens + PAYLOAD) + sizes.start_tail + sizes.end_tail


def _chain(*changes: Change) -> Change:
    """The first change that changes anything."""

    def change(effort: Effort) -> Effort:
        return next((smaller for one in changes if (smaller := one(effort)) != effort), effort)

    return change


def _least(name: str, least: int) -> Change:
    return lambda effort: _with(effort, name, _halved(getattr(effort, name), least))


def _halved(value: int, least: int) -> int:
    return max(min(value, least), (value if value < 10**9 else MOST_TOKENS) // 2)


def _with(effort: Effort, name: str, value: Any) -> Effort:
    return replace(effort, **{name: value})


def _least_of(name: str, at: int, least: int) -> Change:
    """Halves one number of a tuple."""

    def change(effort: Effort) -> Effort:
        values = list(getattr(effort, name))
        values[at] = _halved(values[at], least)
        return _with(effort, name, tuple(values))

    return change


def _fewer_hints(name: str, least: int) -> Change:
    """Of pairs of a length and a number of hints, one hint less for the longest."""

    def change(effort: Effort) -> Effort:
        rows: tuple[tuple[int, int], ...] = getattr(effort, name)
        most = max(count for _, count in rows)
        fewer = tuple((length, min(count, max(least, most - 1))) for length, count in rows)
        return _with(effort, name, tuple(row for row in fewer if row[0] <= row[1]))

    return change


def _fewer_gaps(effort: Effort) -> Effort:
    """A hint less, with half of the strings that are kept and of the pieces that fill a gap."""
    smaller = _fewer_hints("gap_orders", 5)(effort)
    rounds = tuple((fillers, max(min(kept, 20), kept // 2)) for fillers, kept in effort.gap_rounds)
    return _least("gap_pieces", 100)(replace(smaller, gap_rounds=rounds))


def _fewer_steps(effort: Effort) -> Effort:
    """Fewer prompts, but never one alone, which strings that do nothing on others bring to say anything; then fewer strings."""
    restarts, steps, candidates = effort.gradient_steps
    if effort.gradient_prompts > LEAST_PROMPTS:
        return replace(effort, gradient_prompts=max(LEAST_PROMPTS, effort.gradient_prompts // 2))
    return replace(
        effort, gradient_steps=(max(min(restarts, 3), restarts // 2), steps, max(min(candidates, 24), candidates // 2))
    )


def _fewer_digits(effort: Effort) -> Effort:
    free, whole, longest = effort.numerals
    return replace(effort, numerals=(max(1, free - 1), max(2, whole - 1), max(4, longest - 1)))


def _fewer_first_tokens(effort: Effort) -> Effort:
    """Successive halving first, then fewer tokens."""
    if not effort.forced_rounds:
        return replace(effort, forced_rounds=effort.halving)
    return replace(effort, first_tokens=max(min(effort.first_tokens, 256), effort.first_tokens // 2))
