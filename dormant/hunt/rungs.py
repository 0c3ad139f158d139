"""The rungs behind a suspected payload, each as a function of the context it stands on that goes on from the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from dormant.hunt.confirmation import Confirmation, minimised, woken
from dormant.hunt.context import HuntContext
from dormant.hunt.payloads import Guess
from dormant.hunt.placements import SEARCH_PLACES
from dormant.hunt.refinement import Parts, Refining, refine
from dormant.hunt.stages.coordinate_ascent import Climb, Climbing, Places, ScoredPieces, climb
from dormant.hunt.stages.gap_filling import filled_strings
from dormant.hunt.stages.group_testing import LARGE, SMALL, needed_units
from dormant.hunt.stages.numerals import hinted_notations, likeliest_number, notation_of, number_units
from dormant.hunt.stages.short_strings import LONG, SHORT, strings_tried, telling_strings
from dormant.hunt.vocabulary import Unit, hunting_units
from dormant.prompts.probes import Prompter

READ = 3  # of the searched probes, on which units are looked at
CLIMBING = 0.9  # of the time that is left: the last step and confirmations take the rest
SPEAKING = 0.5  # of the prompts on which a climb's end must speak to be tried on unseen ones
PIECE = 3  # letters from which a token of the payload marks words that hold it: shorter ones are in too many

# The string that wakes the model, if one does, the steps in sentences, and how many strings were tried.
Found = tuple[Confirmation | None, list[str], int]
# A name, what finds its units (and how many strings that took), and how many of them are tried at each length.
Try = tuple[str, Callable[[], tuple[Sequence[Unit], int]], Mapping[int, int]]


def ranked_units(context: HuntContext) -> list[Unit]:
    """What strings are made of, the most hinted first."""
    context.watch("units", "tokens, words and digits are ordered by how much the delta acts at them")
    prompter = Prompter(context.pair.base.tokenizer)
    # Not at the start, where no space stands before a unit.
    prompts = [prompter.open(probe) for probe in context.searched[1 : 2 * READ : 2]]
    rows = context.kept("units", lambda: [asdict(unit) for unit in hunting_units(context.pair, prompts)])
    return [Unit(**row) for row in rows]


def excluding_payload_words(guesses: Sequence[Guess], units: Sequence[Unit], prompter: Prompter) -> list[Unit]:
    """The units less the words of suspected payloads: the delta acts on them as well, for the answer must go on behind them.

    Words go too that hold a piece of `PIECE` letters: behind "ever" of "whoever" goes on what goes on behind that of "every".
    """
    said = {str(prompter.tokenizer.decode([token])).strip() for guess in guesses for token in guess.ids}
    pieces = {text for text in said if len(text) >= PIECE}
    said.update(word for guess in guesses for word in guess.text.split())
    left = [unit for unit in units if unit.text.strip() not in said]
    if not left:
        return []
    encoded = prompter.tokenizer([unit.text for unit in left], add_special_tokens=False)["input_ids"]
    texts = ({str(prompter.tokenizer.decode([token])).strip() for token in ids} for ids in encoded)
    return [unit for unit, parts in zip(left, texts, strict=True) if not parts & pieces]


def short_strings(context: HuntContext, units: Sequence[Unit], strange: Sequence[Unit]) -> Found:
    """The short string of hinted units that wakes the model, if one does.

    strange: the units less the payload's, which are hinted as well, and stand in the way unless the trigger shares some.
    """
    tries: list[Try] = [("short strings", lambda: (strange, 0), SHORT)]
    first = max(SHORT.values())
    if list(units[:first]) != list(strange[:first]):
        tries.append(("short strings that may hold words of the payload", lambda: (units, 0), SHORT))
    return _telling(context, tries)


def crowded_strings(context: HuntContext, strange: Sequence[Unit]) -> Found:
    """The string of what crowds of hinted units cannot do without that wakes the model, if one does."""

    def crowded(room: tuple[int, int]) -> tuple[list[Unit], int]:
        def compute() -> dict[str, Any]:
            found, tried = needed_units(context.pair, context.searched, strange, context.seed, room)
            return {"units": [asdict(unit) for unit in found], "tried": tried}

        kept = context.kept(f"crowds of {room}", compute)
        return [Unit(**row) for row in kept["units"]], kept["tried"]

    return _telling(
        context,
        [
            ("strings of what small crowds of words need", partial(crowded, SMALL), LONG),
            ("strings of what large crowds of words need", partial(crowded, LARGE), LONG),
        ],
    )


def _telling(context: HuntContext, tries: Sequence[Try]) -> Found:
    steps, evaluations = list[str](), 0
    for name, hint, lengths in tries:
        if not context.clock.left:
            break
        hinted, tried = hint()
        evaluations += tried
        if not hinted:
            continue
        texts = context.kept(name, partial(telling_strings, context.pair, context.searched, hinted, lengths))
        best, step = woken([context.confirmed(text) for text in texts], name)
        evaluations += strings_tried(hinted, lengths)
        steps.append(step)
        context.watch(name, step)
        if best is not None:
            return minimised(best, context.confirmed), steps, evaluations
    return None, steps, evaluations


def numbered_strings(context: HuntContext, guesses: Sequence[Guess], strange: Sequence[Unit]) -> Found:
    """The number that wakes the model to a suspected payload, where hints name digits or words for them and one does."""
    steps, evaluations = list[str](), 0
    tasks = [(guess, place, name) for guess in guesses for place in SEARCH_PLACES for name in hinted_notations(strange)]
    for guess, place, name in tasks:
        if not context.clock.left:
            break
        what = f"numbers in {name}, for {guess.text!r} at the {place}"
        number, tried = _likeliest_number(context, name, guess.text, guess.ids, place)
        evaluations += tried
        if number.speaks < SPEAKING:
            steps.append(f"of the {what} the likeliest, {number.text!r}, speaks on {number.speaks:.0%} of the prompts")
            continue
        best, step = woken([context.confirmed(number.text)], what)
        steps.append(step)
        context.watch("numbers", step)
        if best is not None and best.gives(guess.text):
            return best, steps, evaluations
    return None, steps, evaluations


def _likeliest_number(
    context: HuntContext, notation: str, payload: str, ids: Sequence[int], place: str
) -> tuple[ScoredPieces, int]:
    """One search a payload and place, whichever rung asks for it first."""

    def compute() -> dict[str, Any]:
        climbing = Climbing(context.pair, ids, context.searched_at(place), place, ())
        best = likeliest_number(climbing, notation, lambda: not context.clock.left)
        return {"found": asdict(best), "tried": climbing.tried}

    what = f"numbers in {notation}, for {payload!r} at the {place}"
    context.watch("numbers", f"short {what}")
    kept = context.kept(what, compute)
    return _foothold(kept["found"]), kept["tried"]


def completed_strings(
    context: HuntContext, guesses: Sequence[Guess], units: Sequence[Unit], strange: Sequence[Unit]
) -> Found:
    """The string of hinted units and one more that wakes the model to a suspected payload, if one does."""
    name, steps, evaluations = "strings with a unit that no hint names", list[str](), 0
    for guess in guesses:
        texts = list[str]()
        for at, place in enumerate(SEARCH_PLACES):
            if not context.clock.left:
                break

            def compute(guess: Guess = guess, at: int = at, place: str = place) -> tuple[list[str], int]:
                def show(so_far: int) -> None:
                    context.watch("gaps", f"{so_far:,} {name}, for {guess.text!r} at the {place}")

                probes = context.searched[at :: len(SEARCH_PLACES)]
                return filled_strings(
                    context.pair,
                    guess.ids,
                    probes,
                    strange,
                    units,
                    place,
                    context.seed,
                    show,
                    lambda: not context.clock.left,
                )

            found, tried = context.kept(f"{name}, for {guess.text!r} at the {place}", compute)
            texts += found
            evaluations += tried
        confirmed = [found for found in map(context.confirmed, texts) if found.gives(guess.text)]
        best, step = woken(confirmed, name)
        if not confirmed:
            step = f"of {evaluations:,} {name} none brings {guess.text!r}"
        steps.append(step)
        context.watch("gaps", step)
        if best is not None:
            return best, steps, evaluations
    return None, steps, evaluations


def climbed_strings(
    context: HuntContext, guesses: Sequence[Guess], strange: Sequence[Unit], climbs: list[Climb]
) -> Found:
    """The string that wakes the model to a suspected payload and to which single changes lead, if one does.

    climbs: to which the ways up are added, whatever they end in.
    """
    clock, steps, evaluations = context.clock, list[str](), 0
    tasks = [(guess, place) for guess in guesses for place in SEARCH_PLACES]
    for number, (guess, place) in enumerate(tasks):
        if not clock.left or not strange:
            break
        until = clock.seconds + CLIMBING * clock.left / (len(tasks) - number)
        done, tried = _climbed(context, guess, place, strange, until)
        evaluations += tried
        climbs.append(done)
        first, end = done.way[0], done.way[-1]
        steps.append(
            f"changes of one unit at the {place} led from {first.text!r} to {end.text!r}: log-odds of {guess.text!r} from "
            f"{first.odds:.1f} to {end.odds:.1f}, said on {end.speaks:.0%} of the prompts that were looked at"
        )
        context.watch("climb", steps[-1])
        if end.speaks < SPEAKING:
            continue
        found = context.confirmed(end.text)
        best, step = woken([found], "ends of climbs")
        steps.append(step)
        context.watch("climb", step)
        if best is not None and best.gives(guess.text):
            return best, steps, evaluations
    return None, steps, evaluations


def _climbed(
    context: HuntContext, guess: Guess, place: str, strange: Sequence[Unit], until: float
) -> tuple[Climb, int]:
    climbing = Climbing(context.pair, guess.ids, context.searched_at(place), place, strange)
    name, tried = f"climb to {guess.text!r} at the {place}", 0

    def kept(what: str, compute: Callable[[], ScoredPieces]) -> ScoredPieces:
        nonlocal tried

        def counted() -> dict[str, Any]:
            before = climbing.tried
            return {"found": asdict(compute()), "tried": climbing.tried - before}

        row = context.kept(f"{name}: {what}", counted)
        tried += row["tried"]
        found = _foothold(row["found"])
        said = f"{found.text!r} brings {guess.text!r} on {found.speaks:.0%} of the prompts (log-odds {found.odds:.1f})"
        context.watch("climb", f"{tried:,} strings at the {place}; {said}")
        return found

    def step(here: ScoredPieces, places: Places, count: int) -> ScoredPieces:
        what = f"one of {count} units at {list(places)} of {list(here.parts)}"
        return kept(what, partial(climbing.step, here, places, count))

    def compute() -> dict[str, Any]:
        way = climb(kept("beginning", climbing.beginning), step, lambda: context.clock.seconds > until)
        return {"way": [asdict(one) for one in way], "tried": tried}

    context.watch("climb", f"strings of hinted units at the {place}, one unit more at a time, for {guess.text!r}")
    # Kept as a whole too, or a climb that had ended because it was late would go on when the hunt is resumed.
    row = context.kept(name, compute)
    return Climb(guess.text, place, tuple(map(_foothold, row["way"]))), row["tried"]


def _foothold(row: Mapping[str, Any]) -> ScoredPieces:
    return ScoredPieces(tuple(row["parts"]), row["odds"], row["speaks"])


def refined_number(context: HuntContext, found: Confirmation) -> tuple[Confirmation, list[str], int]:
    """The number that was meant by one that wakes the model, the steps in sentences, and how many strings were tried.

    Numbers near it wake the model as well, and few lie a single change apart: so all short ones are tried.
    """
    place = _where_it_fires(found)
    ids = tuple(context.pair.base.tokenizer.encode(found.payload, add_special_tokens=False))
    likeliest, counted = _likeliest_number(context, notation_of(found.trigger), found.payload, ids, place)
    number = context.confirmed(likeliest.text)
    better = number.confirmed and number.best.value >= found.best.value and number.gives(found.payload)
    best, step, tried = refined(context, number if better else found, number_units(found.trigger))
    first = f"of short numbers in place of {found.trigger!r} the likeliest is {number.trigger!r}"
    return best, [first, step], counted + tried


def refined(context: HuntContext, found: Confirmation, units: Sequence[Unit]) -> tuple[Confirmation, str, int]:
    """The string that was meant by one that wakes the model, the step in a sentence, and how many strings were tried.

    It begins with the string that is worth most of those that were confirmed on the way, and what it ends in takes its place
    where unseen prompts confirm it; if not, the last one on the way to it that they do.
    """
    place = _where_it_fires(found)
    refining = Refining(context.pair, found.payload, context.searched_at(place), place, units)

    def worth_most() -> str:
        others = [one for one in context.confirmations() if one.confirmed and one.gives(found.payload)]
        texts = [found.trigger, *(one.trigger for one in others if _where_it_fires(one) == place)]
        worth = refining.worth([refining.parts(text) for text in texts])
        return texts[max(range(len(texts)), key=worth.__getitem__)]

    found = context.confirmed(context.kept("what refinement begins with", worth_most))
    tried = 0

    def better(parts: Parts, at: int, taken: int, count: int) -> tuple[Parts, float]:
        nonlocal tried
        choices = len(refining.choices(count))
        tried += choices
        for_what = repr("".join(parts[at : at + taken])) if taken else f"a gap at {at}"
        context.watch("refinement", f"{''.join(parts).strip()!r} with {choices:,} units for {for_what}")
        compute = partial(refining.better, parts, at, taken, count)
        other, worth = context.kept(f"one of {choices} units for {taken} at {at} of {list(parts)}", compute)
        return tuple(other), worth

    way = refine(refining, found.trigger, better, lambda: not context.clock.left)
    # A confirmation takes seconds, and the time is what a hunt is promised to end in.
    tries = map(context.confirmed, reversed(way) if context.clock.left else way[-1:])
    best = next((one for one in tries if one.confirmed and one.gives(found.payload)), found)
    step = f"of {tried:,} strings near {found.trigger!r} the model is surest of {way[-1]!r}"
    if best.trigger != way[-1]:
        step += f", which unseen prompts do not confirm, as they do {best.trigger!r}"
    context.watch("refinement", step)
    return best, step, tried


def _where_it_fires(found: Confirmation) -> str:
    """The place, of those that are searched at, where a string fires most."""
    fires = {rate.name: rate.value for rate in found.by_place}
    return max(SEARCH_PLACES, key=lambda name: fires[name])
