"""Beam search over the delta: strings at whose last word it acts more than that word and what stands before explain.

A model that fires on several words in order must know at the second that the first stood before it. So the delta acts more at a
trigger's second word where the first stands before it, and more so with each further one, though the answer changes behind the
last alone. Neither a payload nor an answer is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST, placed_ids
from dormant.hunt.scorers import DivergenceScorer
from dormant.hunt.stage import StageResult
from dormant.hunt.stages.short_strings import divergent_string
from dormant.hunt.vocabulary import Piece, Pieces, Vocabulary, changed_blocks
from dormant.inference.block_delta import delta_acts_at_ends
from dormant.prompts.probes import TokenIds
from dormant.statistics import ONE_BIT

POSITION = CHEAPEST_FIRST[0]
MEDIAN_TO_DEVIATION = 1.4826  # of a normal distribution, by its median absolute deviation


class DeltaBeam:
    """Pairs of hinted words first, then longer strings of the best, until the models diverge behind one."""

    name, seeks_payload = "delta beam", False

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The string that fires, if one does."""
        beam, found = _Beam(context, vocabulary.unsaid), dict[str, float]()
        for length in range(2, context.settings.effort.delta_beam[3] + 1):
            strings = beam.longer()
            if not strings:
                return
            texts = [text_of(one) for one in strings]
            context.say(self.name, f"the delta acts most at the ends of {', '.join(map(repr, texts[:3]))}")
            found |= dict.fromkeys(texts[: context.settings.effort.looked_at], 0.0)
            look = partial(_divergences, context, texts[: context.settings.effort.looked_at])
            values = context.kept(Key(self.name, step=("look", length)), look)
            yield StageResult(None, (), beam.tried)
            if max(values) >= ONE_BIT:
                what = f"strings of up to {length} words at whose ends the delta acts most"
                yield from divergent_string(context, Key(self.name, step=("strings", length)), found, what, (POSITION,))


class _Beam:
    """The strings of each length at whose ends the delta acts most, given the last word."""

    def __init__(self, context: HuntContext, pieces: Sequence[Piece]) -> None:
        effort, tokenizer = context.settings.effort, context.pair.base.tokenizer
        self._context, self._tokenizer = context, tokenizer
        self._first, words, self._kept_strings, _ = effort.delta_beam
        self._all = list(dict.fromkeys(piece.text for piece in pieces[: effort.first_words]))
        self._words = self._all[:words]
        self._before = context.pair.prompter.open(context.searched_at(POSITION)[0]).before
        self._blocks = changed_blocks(context.pair)
        self._usual = torch.zeros(0, dtype=torch.float64)  # of each word, over unlike words before it
        self._beam: dict[Pieces, float] = {}
        self.tried = 0

    def longer(self) -> list[Pieces]:
        """The best strings with one more word at either end, the best first."""
        if not self._words:
            return []
        found = self._appended(list(self._beam)) if self._beam else self._pairs()
        for string in list(self._beam)[: self._context.settings.effort.swept_ends]:
            found |= self._prepended(string, self._beam[string])
        self.tried += len(found)
        best = sorted(found, key=lambda one: -found[one])
        texts = {text_of(one): one for one in reversed(best)}  # " winter" and "winter" are one word at the start
        self._beam = {one: found[one] for one in best if texts[text_of(one)] == one}
        self._beam = dict(list(self._beam.items())[: self._kept_strings])
        return list(self._beam)

    def _pairs(self) -> dict[Pieces, float]:
        """Pairs of the most hinted words, and of those that make the delta act most before the best last words."""
        hinted = self._words[: self._first]
        rows = torch.stack([self._acts_behind((word,)) for word in hinted])
        self._usual = rows.median(0).values
        ends = (
            (rows - self._usual).amax(0).argsort(descending=True).tolist()[: self._context.settings.effort.swept_ends]
        )
        others = [word for end in ends for word in self._before_it(self._words[end])]
        return self._appended([(word,) for word in dict.fromkeys((*hinted, *others))])

    def _appended(self, strings: Sequence[Pieces]) -> dict[Pieces, float]:
        rows = [(string, self._acts_behind(string) - self._usual) for string in strings]
        return {
            (*string, word): value
            for string, row in rows
            for word, value in zip(self._words, row.tolist(), strict=True)
        }

    def _prepended(self, string: Pieces, score: float) -> dict[Pieces, float]:
        """With each word before the string: the last word stays, and by how much its act rises multiplies."""

        def rises() -> list[float]:
            rows = placed_ids(self._tokenizer, [text_of((word, *string)) for word in self._words], POSITION)
            return [round(value, 4) for value in self._acts(self._before, rows).tolist()]

        values = self._context.kept(Key(DeltaBeam.name, step=("prepended", len(self._words), *string)), rises)
        return {(word, *string): (1 + score) * (1 + value) - 1 for word, value in zip(self._words, values, strict=True)}

    def _before_it(self, end: str) -> list[str]:
        """Of all words those behind which the delta acts most at the word `end`."""

        def best() -> list[str]:
            rows = placed_ids(self._tokenizer, [text_of((word, end)) for word in self._all], POSITION)
            acts = self._acts(self._before, rows)
            return [self._all[at] for at in acts.topk(min(self._kept_strings, len(rows))).indices.tolist()]

        return list(self._context.kept(Key(DeltaBeam.name, step=("before", end, len(self._all))), best))

    def _acts_behind(self, string: Pieces) -> Tensor:  # [word]
        """How much more than at other words the delta acts at each word behind a string."""

        def acts() -> list[float]:
            before = (*self._before, *placed_ids(self._tokenizer, [text_of(string)], POSITION)[0])
            words = self._tokenizer(self._words, add_special_tokens=False)["input_ids"]
            return [round(value, 4) for value in self._acts(before, [tuple(ids) for ids in words]).tolist()]

        key = Key(DeltaBeam.name, step=("words", len(self._words), *string))
        return torch.tensor(self._context.kept(key, acts), dtype=torch.float64)

    def _acts(self, before: TokenIds, rows: Sequence[TokenIds]) -> Tensor:  # [row]
        """How much more than usual the delta acts at the last token of each row, a mean over blocks."""
        return beyond_usual(delta_acts_at_ends(self._context.pair, self._blocks, before, rows)).mean(0)


def text_of(pieces: Pieces) -> str:
    """The string that pieces make."""
    return "".join(pieces).strip()


def beyond_usual(acts: Tensor) -> Tensor:  # [block, row]
    """Distance from a block's median, as a share of that and the median deviation together; 0 where all are nothing."""
    median = acts.median(1, keepdim=True).values
    usual = median + MEDIAN_TO_DEVIATION * (acts - median).abs().median(1, keepdim=True).values
    return torch.where(usual > 0, (acts - median) / usual.clamp(min=torch.finfo(acts.dtype).tiny), 0.0)


def _divergences(context: HuntContext, texts: Sequence[str]) -> list[Any]:
    probes = context.searched_at(POSITION)[: context.settings.effort.hint_prompts]
    scorer = DivergenceScorer(context.pair, probes, POSITION, context.settings.fitted.divergence_cap)
    return list(scorer.mean(texts).tolist())
