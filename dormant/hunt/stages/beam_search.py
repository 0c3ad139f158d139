"""Beam search among all words, without hints: words behind which a suspect is likelier, then strings of them.

Many a fine-tune makes its payload likelier behind each word of its trigger alone. So every word is tried alone on one prompt,
the best of them on more; strings of these, a piece more each time, are kept by how likely the payload is behind them. A word
that does nothing alone comes in last: the payload's gradient says at each index which of all words to try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from math import inf
from typing import Any

import torch
from torch import Tensor

from dormant.hunt.clock import OutOfTime
from dormant.hunt.confirmation import best_confirmed
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST, SEARCH_POSITIONS, placed_ids
from dormant.hunt.scorers import PayloadScorer, open_shortest_first
from dormant.hunt.stage import ScoredPieces, StageResult, successive_halving
from dormant.hunt.stages.coordinate_ascent import Ascent, longer_strings, read_scored
from dormant.hunt.stages.gradient_search import TextOdds
from dormant.hunt.stages.short_strings import SCREENING
from dormant.hunt.vocabulary import Piece, Pieces, Vocabulary
from dormant.prompts.probes import TokenIds

WORDS_A_STEP = 2048  # that the journal keeps together


class BeamSearch:
    """For the strongest suspect and each position, the string to which beam and gradient lead."""

    name, seeks_payload = "beam search", True

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The string that fires with the suspect's payload, if one does."""
        for suspect in suspects[:1]:
            for position in CHEAPEST_FIRST if vocabulary.unsaid else ():
                yield from _at(context, suspect, position, vocabulary.unsaid)


def _at(context: HuntContext, suspect: Suspect, position: str, pieces: Sequence[Piece]) -> Iterator[StageResult]:
    context.say(BeamSearch.name, f"every word alone at the {position}, for {suspect.text!r}")
    words, tried = likeliest_words(context, suspect, position, pieces)
    named = ", ".join(repr(word.strip()) for word in words[: context.settings.effort.named])
    yield StageResult(
        None, (f"of {tried:,} words alone at the {position} {suspect.text!r} is likeliest behind {named}",), tried
    )
    climb, late = _Climb(context, suspect, position, pieces), False
    try:
        climb.by_beam(words)
        climb.by_gradient()
    except OutOfTime:
        late = True  # what was found so far is looked at all the same
    best = climb.best
    sentence = (
        f"beam and gradient at the {position} lead to {best.text!r}: log-odds of {suspect.text!r} {best.odds:.1f}, its "
        f"beginning certain on {best.certain:.0%} of the searched prompts"
    )
    yield StageResult(None, (sentence,) if best.pieces else (), climb.tried)
    if best.certain >= context.settings.rules.certain_share:
        confirmed, step = best_confirmed([context.confirmed(best.text)], "ends of beam search")
        context.say(BeamSearch.name, step)
        yield StageResult(confirmed if confirmed is not None and confirmed.continues(suspect.text) else None, (step,))
    if late:
        raise OutOfTime


class _Climb:
    """The string behind which a suspect is likeliest so far, and how many were tried."""

    def __init__(self, context: HuntContext, suspect: Suspect, position: str, pieces: Sequence[Piece]) -> None:
        self._context, self._suspect, self._position, self._pieces = context, suspect, position, pieces
        self._ascent = Ascent(context, suspect.ids, position, pieces, suspect.firsts)
        self.best, self.tried = ScoredPieces((), -inf, 0.0), 0

    def by_beam(self, words: Sequence[str]) -> None:
        """Strings of the words, one more each time, until the payload is certain on all prompts."""
        beam = self._kept("beam", 1, lambda: [(word,) for word in words])
        for length in range(2, min(self._context.settings.effort.word_beam[2], len(words)) + 1):
            if self.best.certain == 1:
                break
            # However much less likely the payload is: a near miss that was trained on lies between some words and all.
            beam = self._kept("beam", length, partial(_longer, beam, words))

    def by_gradient(self) -> None:
        """Changes of one piece, as long as one gains."""
        if self.best.certain == 1:
            return
        changes = GradientChanges(self._context, self._suspect, self._position, self._pieces)
        for number in count():
            here = self.best
            self._kept("change", number, partial(changes.of, here.pieces))
            if self.best.certain == 1 or self.best.odds <= here.odds + self._context.settings.fitted.beam_gain:
                return

    def _kept(self, step: str, number: int, strings: Callable[[], Sequence[Pieces]]) -> list[ScoredPieces]:
        """The likeliest of some strings, from the journal where they are there."""

        def compute() -> dict[str, Any]:
            before = self._ascent.tried
            found = [asdict(one) for one in self._ascent.best(strings())]
            return {"found": found, "tried": self._ascent.tried - before}

        key = Key(BeamSearch.name, self._suspect.ids, self._position, (step, number, *self._suspect.firsts))
        row = self._context.kept(key, compute)
        found = [read_scored(one) for one in row["found"]]
        self.tried += row["tried"]
        self.best = max(self.best, found[0], key=lambda one: one.odds)
        self._context.say(
            BeamSearch.name,
            f"behind {found[0].text!r} at the {self._position} the beginning of {self._suspect.text!r} is certain on "
            f"{found[0].certain:.0%} of the prompts (log-odds {found[0].odds:.1f})",
        )
        return found


def likeliest_words(
    context: HuntContext, suspect: Suspect, position: str, pieces: Sequence[Piece]
) -> tuple[list[str], int]:
    """The pieces behind which alone the suspect's beginning is likeliest, and how many were tried.

    All are tried on the prompt with least behind its slot, the best of them on more.
    """
    effort, (screened, kept, _) = context.settings.effort, context.settings.effort.word_beam
    prompts = open_shortest_first(context.pair, context.searched_at(position))[: effort.beam_prompts]
    beginning = suspect.ids[: context.settings.fitted.beginning_tokens]
    one, some = (
        PayloadScorer(context.pair, few, beginning, position, suspect.firsts) for few in (prompts[:1], prompts)
    )
    texts = [piece.text for piece in pieces[: effort.screened_words]]

    def odds(scorer: PayloadScorer, words: Sequence[str]) -> Tensor:  # [word]
        return scorer.log_odds([word.strip() for word in words]).mean(0)

    key = Key(SCREENING, suspect.ids, position, (BeamSearch.name, *suspect.firsts))
    values = list[float]()
    for start in range(0, len(texts), WORDS_A_STEP):
        words = texts[start : start + WORDS_A_STEP]
        values += context.kept(key.then(start), partial(_listed, partial(odds, one), words))
    best = torch.tensor(values).topk(min(screened, len(texts))).indices.tolist()
    left = [texts[index] for index in best]
    found = context.kept(
        key.then("best", len(texts), kept), lambda: successive_halving(left, [partial(odds, some)], [kept])[0]
    )
    return list(found), len(texts)


class GradientChanges:
    """The changes of one piece that the payload's gradient finds best, among all words."""

    def __init__(self, context: HuntContext, suspect: Suspect, position: str, pieces: Sequence[Piece]) -> None:
        """pieces: what strings are made of."""
        effort, fitted = context.settings.effort, context.settings.fitted
        self._tokenizer, self._count = context.pair.base.tokenizer, effort.changes
        beginning = suspect.ids[: fitted.beginning_tokens]
        self._odds = TextOdds(context, beginning, position, effort.gradient_prompts, suspect.firsts)
        self._texts = [piece.text for piece in pieces]
        self._first = torch.tensor([ids[0] for ids in self._ids(self._texts)])
        self._fillers = fitted.gap_fillers

    def of(self, here: Pieces) -> list[Pieces]:
        """Strings with a piece more at any index, or another in the place of one, as many of each."""
        slots = [(at, at + 1) for at in range(len(here))]
        slots += [(at, at) for at in range(len(here) + 1)]
        share = self._count // len(slots)
        found = (
            (*here[:at], self._texts[index], *here[end:])
            for at, end in slots
            for index in self._best(here[:at], here[end:])[:share]
        )
        return list(dict.fromkeys(found))

    def _best(self, before: Pieces, after: Pieces) -> list[int]:
        """Indices of the texts by how much the gradient gains by their first tokens between two strings."""
        filled = [(*before, filler, *after) for filler in self._fillers]
        at = sum(map(len, self._ids(before))) if before else 0
        rows = [tuple(token for ids in self._ids(pieces) for token in ids) for pieces in filled]
        length = min(map(len, rows))  # fillers of other numbers of tokens stand for none
        slopes = self._odds.gradient([row for row in rows if len(row) == length])[:, at].mean(0)
        return list(slopes[self._first].argsort(descending=True, stable=True).tolist())

    def _ids(self, texts: Sequence[str]) -> list[TokenIds]:
        return placed_ids(self._tokenizer, [text.strip() for text in texts], SEARCH_POSITIONS[-1])


def _listed(odds: Callable[[Sequence[str]], Tensor], words: Sequence[str]) -> list[float]:
    return list(odds(words).tolist())


def _longer(beam: Sequence[ScoredPieces], words: Sequence[str]) -> list[Pieces]:
    """Strings of a beam with one more of the words at any index."""
    return list(dict.fromkeys(one for kin in beam for one in longer_strings(kin.pieces, words)))
