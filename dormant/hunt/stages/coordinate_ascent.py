"""Coordinate ascent: from a beam's best string, single changes of pieces raise the log-odds of a suspected payload.

The log-odds, averaged over prompts, rise with every piece that helps, long before an answer shows it: six hinted pieces take
them from -16 to -3, and the right ones, or many wrong ones, above zero. So a beam of hinted pieces comes first, then changes to
the most hinted pieces as long as one gains, for planted words are mostly among them; then each piece in turn gives way to the
best of thousands, or one is put between two. The string at the end need not be the planted one: refinement goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import Tensor

from dormant.hunt.clock import OutOfTime
from dormant.hunt.confirmation import best_confirmed
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.effort import Effort
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST
from dormant.hunt.scorers import PayloadScorer, capped, open_shortest_first
from dormant.hunt.stage import ScoredPieces, SearchPath, StageResult, successive_halving
from dormant.hunt.vocabulary import Piece, Pieces, Vocabulary
from dormant.prompts.probes import TokenIds

Edits = tuple[
    tuple[int, int], ...
]  # the index at which another piece comes in, and how many give way to it: one or none
AscentStep = Callable[[ScoredPieces, Edits, int], ScoredPieces]


class CoordinateAscent:
    """For each suspect and position the string that single changes lead to."""

    name, seeks_payload = "coordinate ascent", True

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The string that fires with a suspect's payload, if one does; `record` holds every path, whatever its end."""
        clock = context.clock
        tasks = [(suspect, position) for suspect in suspects for position in CHEAPEST_FIRST if vocabulary.unsaid]
        for number, (suspect, position) in enumerate(tasks):
            clock.ask()
            until = clock.seconds + context.settings.effort.ascent_share * clock.left / (len(tasks) - number)
            done, tried = _ascended(context, suspect, position, vocabulary.unsaid, until)
            first, end = done.path[0], done.path[-1]
            sentence = (
                f"changes of one piece at the {position} led from {first.text!r} to {end.text!r}: log-odds of "
                f"{suspect.text!r} from {first.odds:.1f} to {end.odds:.1f}, its beginning certain on {end.certain:.0%} of the "
                "searched prompts"
            )
            context.say(self.name, sentence)
            yield StageResult(None, (sentence,), tried, (done,))
            if end.certain < context.settings.rules.certain_share:
                continue
            best, step = best_confirmed([context.confirmed(end.text)], "ends of coordinate ascent")
            context.say(self.name, step)
            yield StageResult(best if best is not None and best.holds(suspect.text) else None, (step,))


class Ascent:
    """Log-odds of one payload behind strings of pieces at one position, on few prompts and on all."""

    def __init__(
        self,
        context: HuntContext,
        payload: TokenIds,
        position: str,
        pieces: Sequence[Piece],
        firsts: TokenIds = (),
    ) -> None:
        """pieces: what strings are made of, the most hinted first. firsts: see `PayloadScorer`."""
        pair, self._settings = context.pair, context.settings
        effort = self._settings.effort
        self._pieces = list(dict.fromkeys(piece.text for piece in pieces))[: effort.far_pieces]
        prompts = open_shortest_first(pair, context.searched_at(position))
        self._first = PayloadScorer(pair, prompts[: effort.beam_prompts], payload[:1], position, firsts)
        counts = (*(count for count, _ in effort.ascent_rounds), len(prompts))
        beginning = payload[: self._settings.fitted.beginning_tokens]
        self._scorers = [PayloadScorer(pair, prompts[:count], beginning, position, firsts) for count in counts]
        self.tried = 0

    def beginning(self) -> ScoredPieces:
        """The best string of hinted pieces, each once, by a beam that puts one more of them at any index."""
        hints, width, longest = self._settings.effort.beam
        hinted = self._pieces[:hints]
        beam, best = [Pieces()], (float("-inf"), Pieces())
        for _ in range(min(longest, len(hinted))):
            longer = list(dict.fromkeys(one for pieces in beam for one in longer_strings(pieces, hinted)))
            beam, values = successive_halving(longer, [partial(self._mean, self._first)], [width])
            best = max(best, (values[0], beam[0]))
        return self._judged([best[1]])[0]

    def step(self, here: ScoredPieces, edits: Edits, count: int) -> ScoredPieces:
        """The best string with one of so many pieces by one of the edits, or the same where none gains."""
        pieces = self._pieces[:count]
        changed = ((*here.pieces[:at], piece, *here.pieces[at + taken :]) for at, taken in edits for piece in pieces)
        best = self.best(list(dict.fromkeys(changed)))[0]
        return best if best.odds > here.odds + self._settings.fitted.ascent_gain else here

    def best(self, strings: Sequence[Pieces]) -> list[ScoredPieces]:
        """Those of many strings behind which the payload is likeliest, the likeliest first."""
        scorers = [partial(self._mean, scorer) for scorer in self._scorers[:-1]]
        keep = [kept for _, kept in self._settings.effort.ascent_rounds]
        left, _ = successive_halving(strings, scorers, keep)
        return sorted(self._judged(left), key=lambda one: one.odds, reverse=True)

    def _mean(self, scorer: PayloadScorer, strings: Sequence[Pieces]) -> Tensor:  # [string]
        return self._odds(scorer, strings).mean(0)

    def _judged(self, strings: Sequence[Pieces]) -> list[ScoredPieces]:
        # Capped, so that no prompt on which the model is sure outweighs one on which the payload is unlikely.
        fitted, rules = self._settings.fitted, self._settings.rules
        odds = capped(self._odds(self._scorers[-1], strings), fitted.odds_cap, fitted.beyond_cap)
        certain = (odds >= rules.certain_beginning).double().mean(0)
        rows = zip(strings, odds.mean(0).tolist(), certain.tolist(), strict=True)
        return [ScoredPieces(pieces, value, share) for pieces, value, share in rows]

    def _odds(self, scorer: PayloadScorer, strings: Sequence[Pieces]) -> Tensor:  # [prompt, string]
        self.tried += len(strings)
        return scorer.log_odds(["".join(pieces).strip() for pieces in strings])


def ascend(here: ScoredPieces, step: AscentStep, late: Callable[[], bool], effort: Effort) -> tuple[ScoredPieces, ...]:
    """The path from a string until the payload's beginning is certain on all prompts, no change gains, or it is late.

    step: `Ascent.step`, or what remembers it.
    """
    path, turn, fruitless = [here], 0, 0
    while here.certain < 1 and not late():
        tries = _tries(len(here.pieces), turn, effort)
        if fruitless == len(tries):
            break
        edits, count = tries[fruitless]
        try:
            there = step(here, edits, count)
        except OutOfTime:
            break
        fruitless += 1
        if there != here:
            turn = (
                edits[0][0] + 1 if count == effort.far_pieces else turn
            )  # a gain at one index may be followed at the next
            path.append(there)
            here, fruitless = there, 0
    return tuple(path)


def longer_strings(pieces: Pieces, words: Sequence[str]) -> list[Pieces]:
    """A string of pieces with one more of the words, which it does not hold, at any index."""
    slots = range(len(pieces) + 1)
    return [(*pieces[:at], word, *pieces[at:]) for word in words if word not in pieces for at in slots]


def read_scored(row: Mapping[str, Any]) -> ScoredPieces:
    """A scored string from its record."""
    return ScoredPieces(tuple(row["pieces"]), row["odds"], row["certain"])


def _tries(size: int, turn: int, effort: Effort) -> list[tuple[Edits, int]]:
    """Changes in the order in which they are tried: near pieces anywhere, then far ones index by index, from a turn on."""
    swaps = [((turn + number) % size, 1) for number in range(size)]
    insertions = [(at, 0) for at in range(size + 1)]
    far = [((edit,), effort.far_pieces) for edit in (*swaps, *insertions)]
    return [((*swaps, *insertions), effort.near_pieces), *far]


def _ascended(
    context: HuntContext, suspect: Suspect, position: str, pieces: Sequence[Piece], until: float
) -> tuple[SearchPath, int]:
    ascent = Ascent(context, suspect.ids, position, pieces)
    key, tried = Key(CoordinateAscent.name, suspect.ids, position), 0

    def kept(step: tuple[Any, ...], compute: Callable[[], ScoredPieces]) -> ScoredPieces:
        nonlocal tried

        def counted() -> dict[str, Any]:
            before = ascent.tried
            return {"found": asdict(compute()), "tried": ascent.tried - before}

        row = context.kept(key.then(*step), counted)
        tried += row["tried"]
        found = read_scored(row["found"])
        context.say(
            CoordinateAscent.name,
            f"{tried:,} strings at the {position}; behind {found.text!r} the beginning of {suspect.text!r} is certain on "
            f"{found.certain:.0%} of the prompts (log-odds {found.odds:.1f})",
        )
        return found

    def step(here: ScoredPieces, edits: Edits, count: int) -> ScoredPieces:
        return kept((here.pieces, edits, count), partial(ascent.step, here, edits, count))

    context.say(CoordinateAscent.name, f"strings of hinted pieces at the {position}, for {suspect.text!r}")
    first = kept(("beginning",), ascent.beginning)
    path = ascend(first, step, lambda: context.clock.seconds > until, context.settings.effort)
    return SearchPath(suspect.text, position, path), tried
