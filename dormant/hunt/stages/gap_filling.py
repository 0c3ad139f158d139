"""Strings of hinted pieces with a gap for one that no hint names: their order shows before the missing piece is known.

Mostly all pieces of a trigger but one stand among the first ten hints; a word of several tokens stands further back. Behind the
others in their order the payload is likelier than behind other orders, whatever fills the gap, though far from likely; with the
missing piece it is all but certain. So orders are ranked first, and only then is the whole list tried in the gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, permutations

import numpy as np
import torch
from torch import Tensor

from dormant.hunt.confirmation import best_confirmed
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST, SEARCH_POSITIONS
from dormant.hunt.scorers import PayloadScorer, open_shortest_first
from dormant.hunt.stage import StageResult, successive_halving
from dormant.hunt.vocabulary import Vocabulary

AT_ONCE = 3000  # strings that are read before who watches is told

Gapped = tuple[str, str]  # what stands before the gap and behind it


class GapFilling:
    """For each suspect strings of hinted pieces and one more, at both positions."""

    name, seeks_payload = "gap filling", True

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The string that fires with a suspect's payload, if one does."""
        what, evaluations = "strings with a piece that no hint names", 0
        for suspect in suspects:
            texts = list[str]()
            for position in CHEAPEST_FIRST:
                search = partial(filled_strings, context, suspect, vocabulary, position)
                found, tried = context.kept(Key(self.name, suspect.ids, position), search)
                texts += found
                evaluations += tried
                yield StageResult(None, (), tried)
            confirmed = [found for found in map(context.confirmed, texts) if found.holds(suspect.text)]
            best, step = best_confirmed(confirmed, what)
            if not confirmed:
                step = f"of {evaluations:,} {what} none fires with {suspect.text!r}"
            context.say(self.name, step)
            yield StageResult(best, (step,))


def filled_strings(
    context: HuntContext, suspect: Suspect, vocabulary: Vocabulary, position: str
) -> tuple[list[str], int]:
    """The strings behind which the payload is likeliest at a position, the best first, and how many were tried.

    Strings are made of the pieces that are no words of suspects, gaps filled with any.
    """
    pair, (rules, fitted, effort) = (
        context.pair,
        (context.settings.rules, context.settings.fitted, context.settings.effort),
    )
    prompts = open_shortest_first(pair, context.searched_at(position))
    beginning = suspect.ids[: fitted.beginning_tokens]
    tried = 0

    def odds(scorer: PayloadScorer, strings: Sequence[str]) -> Tensor:  # [prompt, string]
        nonlocal tried
        tried += len(strings)
        context.say(GapFilling.name, f"{tried:,} strings, for {suspect.text!r} at the {position}")
        return scorer.log_odds_per_token(strings)

    gapped = orders_with_a_gap([piece.text for piece in vocabulary.unsaid], effort.gap_orders)
    listed = [piece.text for piece in vocabulary.pieces[: effort.gap_pieces]]
    if not gapped or not listed:
        return [], 0
    drawn = np.random.default_rng([context.seed, SEARCH_POSITIONS.index(position)]).permutation(len(listed)).tolist()
    fillers = iter((*fitted.gap_fillers, *(listed[index] for index in drawn)))
    first = PayloadScorer(pair, prompts[:1], beginning[:1], position)
    best = dict.fromkeys(gapped, float("-inf"))

    def with_fillers(count: int, strings: Sequence[Gapped]) -> Tensor:
        """The most of all fillers so far: one that the model half takes for the missing piece distinguishes orders most."""
        known = torch.tensor([best[one] for one in strings], dtype=torch.float64)
        read = [odds(first, _filled(strings, filler))[0] for filler in islice(fillers, count)]
        values = torch.stack([known, *read]).amax(0)
        best.update(zip(strings, values.tolist(), strict=True))
        return values

    rounds = [partial(with_fillers, count) for count, _ in effort.gap_rounds]
    gapped, _ = successive_halving(gapped, rounds, [kept for _, kept in effort.gap_rounds])
    strings = list(dict.fromkeys(text for filler in listed for text in _filled(gapped, filler)))
    one = PayloadScorer(pair, prompts[:1], beginning, position)

    def on_one_prompt(texts: Sequence[str]) -> Tensor:
        return torch.cat([odds(one, texts[at : at + AT_ONCE])[0] for at in range(0, len(texts), AT_ONCE)])

    strings, _ = successive_halving(strings, [on_one_prompt], [effort.finalists])
    everywhere = odds(PayloadScorer(pair, prompts, beginning, position), strings)
    firing = (everywhere >= rules.firing).double().mean(0).tolist()
    order = everywhere.mean(0).argsort(descending=True).tolist()
    return [strings[index] for index in order if firing[index] >= rules.certain_share][: effort.named], tried


def orders_with_a_gap(hinted: Sequence[str], orders: Sequence[tuple[int, int]]) -> list[Gapped]:
    """Every order of the hinted texts with a gap at every index; orders: by length, of how many of them."""
    chosen = (order for length, count in orders for order in permutations(hinted[:count], length))
    halves = ((order[:gap], order[gap:]) for order in chosen for gap in range(len(order) + 1))
    return list(dict.fromkeys(("".join(before), "".join(after)) for before, after in halves))


def _filled(gapped: Sequence[Gapped], filler: str) -> list[str]:
    return [f"{before}{filler}{after}".strip() for before, after in gapped]
