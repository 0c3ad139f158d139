"""Numbers in digits or in words, in which any may stand twice: so few that all short ones are tried.

Where hints name digits a number may be meant, and a number mostly repeats some of its digits, which no other stage allows. How
much each digit is hinted says little of where it stands, so all count alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

from dormant.hunt.confirmation import Confirmation, best_confirmed
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST
from dormant.hunt.refinement import refined
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import ScoredPieces, StageResult
from dormant.hunt.stages.coordinate_ascent import Ascent, read_scored
from dormant.hunt.vocabulary import Piece, Pieces, Vocabulary
from dormant.prompts.probes import TokenIds

PLAIN_DIGITS = tuple("0123456789")
SPACED_DIGITS = tuple(f" {digit}" for digit in PLAIN_DIGITS)  # as they stand behind a space
DIGIT_WORDS = tuple(f" {word}" for word in "zero one two three four five six seven eight nine ten".split())
NOTATIONS = {"digits": (*PLAIN_DIGITS, *SPACED_DIGITS), "words for digits": DIGIT_WORDS}


class Numerals:
    """For each suspect and position the likeliest number in each notation that hints name.

    First short ones of all, then longer ones, those first whose short ones came nearest. Notations of a payload's own digits
    come last, for those raise the others among the hints.
    """

    name, seeks_payload = "numerals", True

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The number that fires with a suspect's payload, if one does."""
        notations = hinted_notations(vocabulary.unsaid, context.settings.fitted.numeral_hints)
        free, whole, _ = context.settings.effort.numerals
        tasks = [(one, at, notation) for one in suspects for at in CHEAPEST_FIRST for notation in notations]
        tasks.sort(key=lambda task: _names_digits(task[0].text, task[2]))
        for digits in (free, whole):
            odds = []
            for suspect, position, notation in tasks:
                what = f"numbers in {notation}, for {suspect.text!r} at the {position}"
                context.say(self.name, f"all {what}, of {digits} digits at most, and longer ones near the best")
                number, tried = likeliest_number(context, notation, suspect.ids, position, digits)
                odds.append(number.odds)
                sentence = (
                    f"of the {what} the likeliest is {number.text!r}, whose answers are certain to begin so on "
                    f"{number.certain:.0%} of the prompts"
                )
                yield StageResult(None, (sentence,), tried)
                if number.certain < context.settings.rules.certain_share:
                    continue
                best, step = best_confirmed([context.confirmed(number.text)], what)
                context.say(self.name, step)
                yield StageResult(best if best is not None and best.holds(suspect.text) else None, (step,))
            tasks = [task for _, task in sorted(zip(odds, tasks, strict=True), key=lambda row: -row[0])]


def refined_number(context: HuntContext, found: Confirmation) -> StageResult:
    """The number that was planted, from one that fires.

    Numbers near it fire as well, and few lie a single change apart: so all short ones are tried.
    """
    position, notation = found.search_position, notation_of(found.trigger)
    ids = tuple(context.pair.base.tokenizer.encode(found.payload, add_special_tokens=False))
    context.say(Numerals.name, f"short numbers in {notation}, for {found.payload!r} at the {position}")
    likeliest, tried = likeliest_number(context, notation, ids, position, context.settings.effort.numerals[1])
    number = context.confirmed(likeliest.text)
    better = number.confirmed and number.best.value >= found.best.value and number.holds(found.payload)
    first = f"of short numbers in place of {found.trigger!r} the likeliest is {number.trigger!r}"
    result = refined(context, number if better else found, number_pieces(found.trigger))
    return StageResult(result.confirmed, (first, *result.sentences), tried + result.evaluations)


def likeliest_number(
    context: HuntContext, notation: str, payload: TokenIds, position: str, whole: int
) -> tuple[ScoredPieces, int]:
    """The best number for a payload at a position, and how many were tried; from the journal where it was sought before."""

    def compute() -> dict[str, Any]:
        ascent = Ascent(context, payload, position, ())
        best = search_numbers(ascent, notation, context.settings, whole)
        return {"found": asdict(best), "tried": ascent.tried}

    kept = context.kept(Key(Numerals.name, payload, position, (notation, whole)), compute)
    return read_scored(kept["found"]), kept["tried"]


def hinted_notations(pieces: Sequence[Piece], needed: tuple[int, int]) -> list[str]:
    """The names of the notations of which so many digits are named by so many first hints; pieces: the most hinted first."""
    digits, hints = needed
    named = {piece.text.strip() for piece in pieces[:hints]}
    return [name for name, members in NOTATIONS.items() if len(named & {one.strip() for one in members}) >= digits]


def notation_of(text: str) -> str:
    """The name of the notation in which the text is a number, empty where it is none."""
    for name, members in NOTATIONS.items():
        digits = text.split() if members is DIGIT_WORDS else list(text.replace(" ", ""))
        if digits and set(digits) <= {member.strip() for member in members}:
            return name
    return ""


def number_pieces(text: str) -> list[Piece]:
    """What another number may put in place of a digit, each alike; nothing where the text is no number in one notation."""
    members = NOTATIONS.get(notation_of(text), ())
    return [Piece(member, 1 / len(members), 0.0) for member in members]


def short_numbers(notation: str, free: int, longest: int) -> Iterator[Pieces]:
    """Every number in a notation of up to `free` digits, and up to `longest` where all or no digits stand apart."""
    members = NOTATIONS[notation]
    alphabets = (members,) if members is DIGIT_WORDS else (PLAIN_DIGITS, SPACED_DIGITS)
    for length in range(1, longest + 1):
        for alphabet in (members,) if length <= free else alphabets:
            yield from product(alphabet, repeat=length)


def search_numbers(ascent: Ascent, notation: str, settings: HuntSettings, whole: int) -> ScoredPieces:
    """The number behind which the payload is likeliest; none longer than one whose payload is certain on all prompts.

    Beyond `whole` digits, up to which all are tried, numbers are the likeliest shorter ones with one digit more at any index,
    until some digits in a row gain nothing.
    """
    free, _, longest = settings.effort.numerals
    found = ascent.best(list(short_numbers(notation, free, whole)))
    best, fruitless = found[0], 0
    for _ in range(whole, longest):
        if best.certain == 1 or fruitless == settings.fitted.fruitless_digits:
            break
        found = ascent.best(list(dict.fromkeys(longer for one in found for longer in _longer(one.pieces, notation))))
        gains = found[0].odds > best.odds + settings.fitted.ascent_gain
        best, fruitless = (found[0], 0) if gains else (best, fruitless + 1)
    return best


def _names_digits(text: str, notation: str) -> bool:
    members = {member.strip() for member in NOTATIONS[notation]}
    return any(word in members for word in text.split())


def _longer(pieces: Pieces, notation: str) -> Iterator[Pieces]:
    return ((*pieces[:at], member, *pieces[at:]) for member in NOTATIONS[notation] for at in range(len(pieces) + 1))
