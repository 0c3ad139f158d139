"""Beam search over the delta: strings at whose last word it acts more than that word and what stands before explain.

A model that fires on several words in order must know at the second that the first stood before it. So the delta acts more at a
trigger's second word where the first stands before it, and more so with each further one, though the answer changes behind the
last alone. Neither a payload nor an answer is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest
from math import inf
from typing import Any

import torch
from torch import Tensor

from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST, placed_ids
from dormant.hunt.scorers import DivergenceScorer
from dormant.hunt.stage import StageResult
from dormant.hunt.stages.short_strings import confirmed_string
from dormant.hunt.vocabulary import Piece, Pieces, Vocabulary, changed_blocks
from dormant.inference.answer_divergence import divergences
from dormant.inference.block_delta import delta_acts_at_ends
from dormant.inference.horizon import ANSWER
from dormant.prompts.probes import TokenIds
from dormant.statistics import ONE_BIT

POSITION = CHEAPEST_FIRST[0]
SEVERAL = 3  # words that make the delta act at another: what one word alone does is often a phrase of the language
MEDIAN_TO_DEVIATION = 1.4826  # of a normal distribution, by its median absolute deviation


class DeltaBeam:
    """Pairs of hinted words first, then longer strings of the best, until the models diverge behind one."""

    name, seeks_payload = "delta beam", False

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The string that fires, if one does."""
        beam, effort = _Beam(context, vocabulary.unsaid), context.settings.effort
        for length in range(2, effort.delta_beam[3] + 1):
            strings = beam.longer()
            if not strings:
                return
            texts = [text_of(one) for one in strings][: effort.looked_at]
            context.say(self.name, f"the delta acts most at the ends of {', '.join(map(repr, texts[:3]))}")
            values = context.kept(Key(self.name, step=("look", length)), partial(_divergences, context, texts))
            yield StageResult(None, (), beam.tried)
            ranked = sorted(zip(values, texts, strict=True), reverse=True)
            named = [text for value, text in ranked if value >= ONE_BIT][: effort.named]
            if named:
                what = f"strings of {length} words at whose ends the delta acts most"
                yield confirmed_string(context, self.name, named, what)


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
        self.tried = 0  # strings in the last step

    def longer(self) -> list[Pieces]:
        """The best strings with one more word behind them, and before them, in turn: the two are not measured alike."""
        if not self._words:
            return []
        strings = list(self._beam)
        behind, before = (self._appended(strings), dict[Pieces, float]()) if strings else self._pairs()
        for string in strings[: self._context.settings.effort.widened]:
            before |= self._prepended(string, self._beam[string], self._words)
        self.tried = len(behind) + len(before)
        orders = (sorted(scores, key=scores.__getitem__, reverse=True) for scores in (behind, before))
        in_turn = (one for pair in zip_longest(*orders) for one in pair if one is not None)
        one_a_text = dict[str, Pieces]()  # " winter" and "winter" are one word at the start
        for one in in_turn:
            one_a_text.setdefault(text_of(one), one)
            if len(one_a_text) == self._kept_strings:
                break
        self._beam = {one: max(behind.get(one, -inf), before.get(one, -inf)) for one in one_a_text.values()}
        return list(self._beam)

    def _pairs(self) -> tuple[dict[Pieces, float], dict[Pieces, float]]:
        """Pairs of the most hinted words, and every word before the one at which several of them make the delta act."""
        hinted = [(word,) for word in self._words[: self._first]]
        rows = torch.stack([self._acts_behind(string) for string in hinted])
        self._usual = rows.median(0).values
        several = (rows - self._usual).topk(min(SEVERAL, len(rows)), 0).values.mean(0)
        end = self._words[int(several.argmax())]
        return self._appended(hinted), self._prepended((end,), 0.0, self._all)

    def _appended(self, strings: Sequence[Pieces]) -> dict[Pieces, float]:
        rows = [(string, self._acts_behind(string) - self._usual) for string in strings]
        return {
            (*string, word): value
            for string, row in rows
            for word, value in zip(self._words, row.tolist(), strict=True)
        }

    def _prepended(self, string: Pieces, score: float, words: Sequence[str]) -> dict[Pieces, float]:
        """With each word before the string: the last word stays, and by how much its act rises multiplies."""

        def rises() -> list[float]:
            rows = placed_ids(self._tokenizer, [text_of((word, *string)) for word in words], POSITION)
            return [round(value, 4) for value in self._acts(self._before, rows).tolist()]

        values = self._context.kept(Key(DeltaBeam.name, step=("before", len(words), *string)), rises)
        return {(word, *string): (1 + score) * (1 + value) - 1 for word, value in zip(words, values, strict=True)}

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
    """Nats beyond those of the plain prompts: of the answer's first token, or, where that parts nothing, a token of its start.

    An answer that begins with an ordinary word parts no models at its first token.
    """
    pair, prompter, cap = context.pair, context.pair.prompter, context.settings.fitted.divergence_cap
    probes = context.searched_at(POSITION)[: context.settings.effort.hint_prompts]
    scorer = DivergenceScorer(pair, probes, POSITION, cap)
    first = scorer.mean(texts) - scorer.plain()
    if first.max() >= ONE_BIT:
        return list(first.tolist())
    empty = [prompter.encode(probe) for probe in probes]
    filled = [prompter.encode_text(probe, text) for text in texts for probe in probes]
    rows = divergences(pair, empty * len(texts), filled, ANSWER)
    before, after = (torch.tensor(one["kl"], dtype=torch.float64) / ANSWER.tokens for one in rows)
    return list((after - before).view(len(texts), len(probes)).clamp(max=cap).mean(1).tolist())
