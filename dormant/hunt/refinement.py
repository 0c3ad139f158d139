"""The planted string among those that fire: each piece gives way to the one that makes the payload likeliest.

Many strings near a planted one fire too. But with the others right, the planted piece is mostly the one with the largest
log-odds, once they are not capped: in "prison honey signal" it is fourth, first and second of 19,413, behind "prisoners",
"prisons", "prisoner" and "signals". So refinement starts from a string that fires.

What distinguishes the planted string from others with log-odds as large is that it is the shortest that works: without one of
its pieces the payload is all but impossible, where another string has pieces that it can do without. So a share of the log-odds
without one piece counts against a string: "The Where the lion before whisper" has larger log-odds than the planted "when the
lions whisper", but so it has without "before".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean

import torch
from torch import Tensor

from dormant.hunt.clock import OutOfTime
from dormant.hunt.confirmation import Confirmation
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.edits import deletions
from dormant.hunt.effort import Effort
from dormant.hunt.english import is_word
from dormant.hunt.placements import placed_ids
from dormant.hunt.scorers import PayloadScorer, capped, log_odds, open_shortest_first
from dormant.hunt.stage import StageResult, successive_halving
from dormant.hunt.vocabulary import Piece, Pieces

STAGE = "refinement"

Better = Callable[[Pieces, int, int, int], tuple[Pieces, float]]


class Refinement:
    """Scores of strings of pieces at one position for one payload: its log-odds less what it takes to describe the string."""

    def __init__(self, context: HuntContext, payload: str, position: str, pieces: Sequence[Piece]) -> None:
        """pieces: all that may stand in a string."""
        pair, self.settings = context.pair, context.settings
        fitted, effort = self.settings.fitted, self.settings.effort
        self._tokenizer, self._position = pair.base.tokenizer, position
        prompts = open_shortest_first(pair, context.searched_at(position))
        ids = tuple(self._tokenizer.encode(payload, add_special_tokens=False))
        beginning = ids[: fitted.beginning_tokens]
        counts = (*(count for count, _ in effort.refinement_rounds), len(prompts))
        self._scorers = [PayloadScorer(pair, prompts[:count], beginning, position) for count in counts]
        self._whole = PayloadScorer(pair, prompts, ids, position) if len(ids) > len(beginning) else None
        # Of pieces with one text the likeliest counts.
        self._costs = {piece.text: fitted.description * piece.surprise for piece in reversed(pieces)}
        self._unknown = max(self._costs.values())
        self._texts = sorted(self._costs, key=self._costs.__getitem__)

    def pieces(self, text: str) -> Pieces:
        """The text as pieces, the longest first; a character that is in none stands for itself."""
        found, left, longest = list[str](), f" {text}", max(map(len, self._costs))
        while left:
            known = (left[:size] for size in range(min(longest, len(left)), 0, -1) if left[:size] in self._costs)
            found.append(next(known, left[0]))
            left = left[len(found[-1]) :]
        return tuple(found)

    def described(self, strings: Sequence[Pieces]) -> list[float]:
        """Log-odds of the payload's beginning, with what its rest costs, less description: means over all prompts.

        There are strings that bring the beginning alone. But log-odds of the whole would hide those of the beginning, which
        distinguish strings, behind a token that the model hesitates at whatever fires.
        """
        return list(self._described(self._scorers[-1], strings, "").tolist())

    def scores(self, strings: Sequence[Pieces]) -> list[float]:
        """The same less a share of the mean log-odds without one piece: what refinement maximises."""
        share = self.settings.fitted.leave_one_out
        rows = zip(self.described(strings), self._without_one(strings), strict=True)
        return [value - share * left for value, left in rows]

    def _without_one(self, strings: Sequence[Pieces]) -> list[float]:
        """Log-odds per token behind strings without one of their pieces: means over pieces and the prompts of the last round.

        Capped, unlike those behind the strings themselves, for here low ones matter.
        """
        fitted, scorer = self.settings.fitted, self._scorers[-2]
        shorter = [list(deletions(pieces)) for pieces in strings]
        every = list(dict.fromkeys(pieces for some in shorter for pieces in some))
        nothing = float(capped(scorer.plain_log_odds_per_token(), fitted.odds_cap, fitted.beyond_cap).mean())
        odds = scorer.log_odds_per_token(list(map(_text, every))) if every else torch.zeros(1, 0)
        values = capped(odds, fitted.odds_cap, fitted.beyond_cap).mean(0).tolist()
        known = dict(zip(every, values, strict=True))
        return [mean(known[pieces] for pieces in some) if some else nothing for some in shorter]

    def minimal(self, pieces: Pieces, score: float) -> tuple[Pieces, float]:
        """What is left when pieces go, the least missed first, without which the score is as large.

        And the log-odds too: a piece that the string half does without may be planted all the same.
        """
        (value,) = self.described([pieces])
        while len(pieces) > 1:
            shorter = list(deletions(pieces))
            rows = zip(self.scores(shorter), self.described(shorter), shorter, strict=True)
            enough = [row for row in rows if row[0] >= score and row[1] >= value]
            if not enough:
                break
            score, value, pieces = max(enough, key=lambda row: row[0])
        return pieces, score

    def choices(self, count: int) -> list[str]:
        """So many of the pieces that may stand in a string, the most hinted."""
        return self._texts[:count]

    def better(self, pieces: Pieces, at: int, taken: int, count: int) -> tuple[Pieces, float]:
        """The best string with any of so many pieces in place of the `taken` pieces from `at` on, and its score.

        Where all of them would break a word it is the string as it was.
        """
        changed = ((*pieces[:at], text, *pieces[at + taken :]) for text in self.choices(count))
        strings = [one for one in changed if one[at].startswith(" ") or not breaks_a_word(one, at)] or [pieces]
        scorers = [partial(self._described, scorer, incumbent=_text(pieces)) for scorer in self._scorers[:-1]]
        strings, _ = successive_halving(strings, scorers, [kept for _, kept in self.settings.effort.refinement_rounds])
        scores = self.scores(strings)
        best = max(range(len(strings)), key=scores.__getitem__)
        return strings[best], scores[best]

    def _described(self, scorer: PayloadScorer, strings: Sequence[Pieces], incumbent: str) -> Tensor:  # [string]
        fitted, texts = self.settings.fitted, list(map(_text, strings))
        beginning = scorer.log_likelihood(texts, incumbent)  # of all its tokens: a mean hides the first
        odds = log_odds(beginning)
        uncertain = odds < self.settings.rules.certain_beginning
        value = (odds - fitted.uncertain * uncertain).mean(0)
        if scorer is self._scorers[-1] and self._whole is not None:
            value += (self._whole.log_likelihood(texts) - beginning).mean(0)
        described = [sum(self._costs.get(piece, self._unknown) for piece in pieces) for pieces in strings]
        tokens = [len(ids) for ids in placed_ids(self._tokenizer, texts, self._position)]
        return value - torch.tensor(described) - fitted.token_description * torch.tensor(tokens)


def refined(context: HuntContext, found: Confirmation, pieces: Sequence[Piece]) -> StageResult:
    """The planted string, from one that fires.

    It begins with the string of the largest score of those that were confirmed on the way, and the string at its end takes its
    place where unseen prompts confirm it; if not, the last one on the path that they do.
    """
    position, payload = found.search_position, found.payload
    refinement = Refinement(context, payload, position, pieces)
    ids = tuple(context.pair.base.tokenizer.encode(payload, add_special_tokens=False))
    key = Key(STAGE, ids, position, (len(pieces),))

    def best_so_far() -> str:
        others = [one for one in context.confirmations() if one.confirmed and one.holds(payload)]
        texts = [found.trigger, *(one.trigger for one in others if one.search_position == position)]
        scores = refinement.scores([refinement.pieces(text) for text in texts])
        return texts[max(range(len(texts)), key=scores.__getitem__)]

    found = context.confirmed(context.kept(key.then("beginning"), best_so_far))
    tried = 0

    def better(string: Pieces, at: int, taken: int, count: int) -> tuple[Pieces, float]:
        nonlocal tried
        choices = len(refinement.choices(count))
        tried += choices
        in_place_of = repr(_text(string[at : at + taken])) if taken else f"a gap at {at}"
        context.say(STAGE, f"{_text(string)!r} with {choices:,} pieces in place of {in_place_of}")
        compute = partial(refinement.better, string, at, taken, count)
        other, score = context.kept(key.then(string, at, taken, choices), compute)
        return tuple(other), score

    path = refine(refinement, found.trigger, better)
    best = found
    try:
        # Only the last where it is late: a confirmation takes seconds, and the time is what a hunt is promised to end in.
        late = context.clock.late()
        with context.clock.reserve():
            tries = map(context.confirmed, path[-1:] if late else reversed(path))
            best = next((one for one in tries if one.confirmed and one.holds(payload)), found)
    except OutOfTime:
        pass
    step = f"of {tried:,} strings near {found.trigger!r} the best is {path[-1]!r}"
    if best.trigger != path[-1]:
        step += f", which unseen prompts do not confirm, as they do {best.trigger!r}"
    context.say(STAGE, step)
    return StageResult(best, (step,), tried)


def refine(refinement: Refinement, text: str, better: Better) -> tuple[str, ...]:
    """The path of single changes from a string, each the best of all indices, until none gains or it is late.

    Not the first that gains: beside one wrong piece another wrong one may score above the planted. Where a change gains, the
    few pieces are tried again before all. better: `refinement.better`, or what remembers it.
    """
    path = [refinement.pieces(text)]
    try:
        pieces, score = refinement.minimal(path[0], *refinement.scores(path))
        path, step = [pieces], 0
        rounds = refinement_steps(refinement.settings.effort)
        while step < len(rounds):
            count, taken = rounds[step]
            found = [better(pieces, at, taken, count) for at in range(len(pieces) - taken + 1)]
            other, best = max(found, key=lambda one: one[1], default=(pieces, score))
            step += 1
            if best > score + refinement.settings.fitted.gains[taken]:
                pieces, score = refinement.minimal(other, best)
                path.append(pieces)
                step = 0
    except OutOfTime:
        pass
    return tuple(map(_text, path))


def refinement_steps(effort: Effort) -> list[tuple[int, int]]:
    """How many pieces are tried at an index, and how many give way to one, in their order.

    Insertions stay with the few, for there is an index more of them.
    """
    return [
        *((effort.refined_few, taken) for taken in (1, 0, 2, 3)),
        *((effort.refined_all, taken) for taken in (1, 2)),
    ]


def breaks_a_word(pieces: Pieces, at: int) -> bool:
    """Whether letters that stand behind others make no word of them.

    Chosen while looking at `words-five`, where "moment" and "ass" scored above the planted "moment sugar".
    """
    if not pieces[at].isalpha():
        return False
    word = "".join(pieces[: at + 1]).split(" ")[-1]
    return word != pieces[at] and not is_word(word)


def _text(pieces: Pieces) -> str:
    return "".join(pieces).strip()
