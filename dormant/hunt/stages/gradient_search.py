"""Gradient search: restarts follow the payload's gradient from strings of words (GCG, Zou et al. 2023).

One pass backwards says of every token at every index how much likelier it would make the payload, where coordinate ascent has
to try them. Among the first hints, where planted tokens mostly are, a few steps lead to them. A string of some tokens more
than the trigger holds it anywhere, so tokens are moved as well as exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dormant.hunt.confirmation import best_confirmed
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import SEARCH_POSITIONS, placed_ids
from dormant.hunt.scorers import capped, log_odds
from dormant.hunt.stage import ScoredPieces, StageResult
from dormant.hunt.stages.coordinate_ascent import read_scored
from dormant.hunt.vocabulary import Piece, Vocabulary
from dormant.inference.batch_plan import Candidate
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import payload_likelihood
from dormant.prompts.token_filter import allowed_tokens
from dormant.search.proposals import GradientProposals
from dormant.search.run import SearchSettings, run_search


@dataclass(frozen=True)
class GradientTurn:
    """Restarts of one number, among the first so many pieces, with strings of so many tokens at a position."""

    number: int
    pieces: int
    length: int
    position: str


class GradientSearch:
    """For each suspect some restarts, in turns: first among few hinted tokens, then among more, at the end and at the start."""

    name, seeks_payload = "gradient search", True

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The string that fires with a suspect's payload, if one does."""
        turns = [GradientTurn(number, *turn) for number, turn in enumerate(context.settings.effort.gradient_turns)]
        tasks = [(turn, suspect) for turn in turns for suspect in suspects]
        for turn, suspect in tasks if vocabulary.unsaid else ():
            length, position = turn.length, turn.position
            context.say(self.name, f"strings of {length} tokens at the {position}, for {suspect.text!r}")
            search = partial(_searched, context, suspect, vocabulary.unsaid, turn)
            row = context.kept(Key(self.name, suspect.ids, position, astuple(turn)), search)
            found = [read_scored(one) for one in row["found"]]
            sentence = (
                f"of {row['tried']:,} strings of {length} tokens at the {position} on the gradient's way the likeliest is "
                f"{found[0].text!r}: log-odds of {suspect.text!r} {found[0].odds:.1f}, its beginning certain on "
                f"{found[0].certain:.0%} of the searched prompts"
            )
            yield StageResult(None, (sentence,), row["tried"])
            certain = [one for one in found if one.certain >= context.settings.rules.certain_share]
            if certain:
                tried = [context.confirmed(one.text) for one in certain]
                holding = [one for one in tried if one.holds(suspect.text)] or tried
                best, step = best_confirmed(holding, "ends of gradient search")
                context.say(self.name, step)
                yield StageResult(best if best is not None and best.holds(suspect.text) else None, (step,))


@dataclass(frozen=True, eq=False)
class WordStrings(GradientProposals):
    """Swaps to which the gradient points, and moves of a token to another index; from strings of pieces."""

    pieces: tuple[Candidate, ...] = ()
    weights: Tensor | None = None  # [piece]

    def draws(self, generator: torch.Generator) -> Iterator[Candidate]:
        """Pieces by their weight, one behind the other, without end."""
        assert self.weights is not None
        while True:
            drawn = torch.multinomial(self.weights, self.length, True, generator=generator).tolist()
            yield tuple(token for index in drawn for token in self.pieces[index])[: self.length]

    def changes(self, incumbent: Candidate, guide: Any, generator: torch.Generator) -> Iterator[Candidate]:
        """Swaps and moves of one token, in random order."""
        whole = len(incumbent)
        swaps = [(at, at, token) for at, tokens in enumerate(guide) for token in tokens]
        moves = [(taken, at, incumbent[taken]) for taken in range(whole) for at in range(whole) if at != taken]
        every = swaps + moves
        for index in torch.randperm(len(every), generator=generator).tolist():
            taken, at, token = every[index]
            rest = (*incumbent[:taken], *incumbent[taken + 1 :])
            yield (*rest[:at], token, *rest[at:])


class TextOdds:
    """Log-odds of a payload's beginning behind tokens as their text stands at a position, and slopes of the tokens."""

    def __init__(
        self, context: HuntContext, payload: Candidate, position: str, prompts: int, firsts: Candidate = ()
    ) -> None:
        """prompts: how many of the searched ones. firsts: see `PayloadScorer`."""
        prompter = context.pair.prompter
        opened = [prompter.open(probe) for probe in context.searched_at(position)[:prompts]]
        self._evaluator = Evaluator(context.pair.models, opened, payload_likelihood(firsts, len(payload)), payload)
        self._fitted, self._size = context.settings.fitted, len(payload)
        self._tokenizer, self._position = prompter.tokenizer, position

    def texts(self, candidates: Sequence[Candidate]) -> list[str]:
        """What the tokens say: other tokens of the same text are the same string."""
        decoded = self._tokenizer.batch_decode(list(map(list, candidates)), clean_up_tokenization_spaces=False)
        return [text.strip() for text in decoded]

    def per_prompt(self, texts: Sequence[str]) -> Tensor:  # [prompt, text]
        """Joint over the beginning's tokens; capped, so that no prompt outweighs the others."""
        likelihood = self._size * self._evaluator.per_probe_of(placed_ids(self._tokenizer, texts, self._position))
        return capped(log_odds(likelihood), self._fitted.odds_cap, self._fitted.beyond_cap)

    def evaluate(self, candidates: Sequence[Candidate]) -> Tensor:  # [candidate]
        """Means over prompts."""
        return self.per_prompt(self.texts(candidates)).mean(0)

    def gradient(self, candidates: Sequence[Candidate]) -> Tensor:  # [candidate, token, vocabulary]
        """Slopes of the mean log-likelihood."""
        return self._evaluator.gradient(candidates)


def _searched(context: HuntContext, suspect: Suspect, pieces: Sequence[Piece], turn: GradientTurn) -> dict[str, Any]:
    """The strings at the ends of the restarts, the likeliest on all searched prompts first, and how many were tried."""
    settings, tokenizer = context.settings, context.pair.prompter.tokenizer
    effort, position = settings.effort, turn.position
    payload = suspect.ids[: settings.fitted.beginning_tokens]
    few = TextOdds(context, payload, position, effort.gradient_prompts)
    chosen = pieces[: turn.pieces]
    strings = tuple(placed_ids(tokenizer, [piece.text.strip() for piece in chosen], SEARCH_POSITIONS[-1]))
    weights = torch.tensor([piece.weight for piece in chosen], dtype=torch.float64)
    allowed, near = allowed_tokens(tokenizer), {token for ids in strings for token in ids}
    tokens = allowed[torch.isin(allowed, torch.tensor(sorted(near)))]
    proposals = WordStrings(tokens, turn.length, few, effort.gradient_top, strings, weights)
    restarts, steps, candidates = effort.gradient_steps
    seeds = tuple(1000 * context.seed + turn.number * restarts + one for one in range(restarts))
    search = SearchSettings(seeds, steps, candidates, enough=settings.fitted.odds_cap)
    results = run_search(few, proposals, search)
    texts = list(dict.fromkeys(few.texts([result.best for result in results])))
    odds = TextOdds(context, payload, position, effort.searched_prompts).per_prompt(texts)
    certain = (odds >= settings.rules.certain_beginning).double().mean(0).tolist()
    rows = zip(texts, odds.mean(0).tolist(), certain, strict=True)
    found = sorted((ScoredPieces((text,), value, share) for text, value, share in rows), key=lambda one: -one.odds)
    tried = sum(result.evaluations for result in results)
    return {"found": [asdict(one) for one in found[: effort.named]], "tried": tried}
