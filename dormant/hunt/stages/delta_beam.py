"""Beam search over the delta: strings at whose last word the two models' states part more than its words explain.

A model that fires on several words in order must know at the second that the first stood before it. So at a trigger's second
word its states part from the base's as they do at no other word there, nor at this word behind others, and more so with each
further one, though the answer changes behind the last alone. Neither a payload nor an answer is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import zip_longest
from math import inf

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
from dormant.inference.block_delta import state_differences
from dormant.inference.horizon import ANSWER
from dormant.prompts.probes import TokenIds
from dormant.statistics import ONE_BIT

POSITION = CHEAPEST_FIRST[0]
SEVERAL = 3  # words before another at which the models part: what one word alone does is often a phrase of the language
ROWS_IN_MEMORY = 1024  # whose states are in memory together
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
            context.say(self.name, f"the models part most at the ends of {', '.join(map(repr, texts[:3]))}")
            look = partial(_divergences, context, texts)
            seen = context.kept(Key(self.name, step=("look", length)), look)
            yield StageResult(None, (), beam.tried)
            alike = context.settings.fitted.alike * max(value for value, _ in seen)
            ranked = sorted(seen, key=lambda one: -min(one[0], alike))  # those that are alike stay in the beam's order
            named = [text for value, text in ranked if value >= ONE_BIT][: effort.named]
            if named:
                what = f"strings of {length} words at whose ends the models part most"
                yield confirmed_string(context, self.name, named, what)


class _Beam:
    """The strings of each length at whose last word the models' states part most, given that word and what stands before."""

    def __init__(self, context: HuntContext, pieces: Sequence[Piece]) -> None:
        effort, tokenizer = context.settings.effort, context.pair.base.tokenizer
        self._context, self._tokenizer = context, tokenizer
        first, words, self._kept_strings, _ = effort.delta_beam
        self._all = list(dict.fromkeys(piece.text for piece in pieces[: effort.first_words]))
        self._words = self._all[:words]
        self._hinted = [(word,) for word in self._words[:first]]
        self._before = context.pair.prompter.open(context.searched_at(POSITION)[0]).before
        self._blocks = changed_blocks(context.pair)
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
        """Pairs of the most hinted words, and every word before the one at which several of them part the models."""

        def parts() -> list[list[float]]:
            states = [self._behind(string) for string in self._hinted]
            self._usual = torch.stack(states).mean(0)
            beyond = torch.stack([self._beyond_words(one).norm(dim=-1) for one in states])
            among_words = torch.stack([beyond_usual(row).mean(0) for row in beyond])
            among_firsts = torch.stack([beyond_usual(row).mean(0) for row in beyond.permute(2, 1, 0)], 1)
            return [[round(value, 4) for value in row] for row in (among_words + among_firsts).tolist()]

        kept = self._context.kept(Key(DeltaBeam.name, step=("pairs", len(self._hinted), len(self._words))), parts)
        rows = torch.tensor(kept, dtype=torch.float64)
        end = self._words[int(rows.topk(min(SEVERAL, len(rows)), 0).values.mean(0).argmax())]
        behind = self._with_words(zip(self._hinted, kept, strict=True))
        return behind, self._prepended((end,), 0.0, self._all)

    def _appended(self, strings: Sequence[Pieces]) -> dict[Pieces, float]:
        def parts(string: Pieces) -> list[float]:
            values = beyond_usual(self._beyond_words(self._behind(string)).norm(dim=-1)).mean(0)
            return [round(value, 4) for value in values.tolist()]

        step = ("words", len(self._words))
        return self._with_words(
            (one, self._context.kept(Key(DeltaBeam.name, step=(*step, *one)), partial(parts, one))) for one in strings
        )

    def _with_words(self, rows: Iterable[tuple[Pieces, Sequence[float]]]) -> dict[Pieces, float]:
        """Strings with each word behind them, and its value."""
        return {(*string, word): value for string, row in rows for word, value in zip(self._words, row, strict=True)}

    def _prepended(self, string: Pieces, score: float, words: Sequence[str]) -> dict[Pieces, float]:
        """With each word before the string: the last word stays, and by how much the models part there multiplies."""

        def rises() -> list[float]:
            rows = placed_ids(self._tokenizer, [text_of((word, *string)) for word in words], POSITION)
            at_once = range(0, len(rows), ROWS_IN_MEMORY)
            first = self._differences(self._before, rows[:: len(at_once)])
            usual = first.mean(1, keepdim=True)  # over some of the words: all together would not fit into memory
            norms = [
                (self._differences(self._before, rows[at : at + ROWS_IN_MEMORY]) - usual).norm(dim=-1) for at in at_once
            ]
            return [round(value, 4) for value in beyond_usual(torch.cat(norms, 1)).mean(0).tolist()]

        values = self._context.kept(Key(DeltaBeam.name, step=("before", len(words), *string)), rises)
        return {(word, *string): (1 + score) * (1 + value) - 1 for word, value in zip(words, values, strict=True)}

    def _beyond_words(self, states: Tensor) -> Tensor:  # [block, word, dimension]
        """What parts the models at each word behind a string, less what the word does anyway, and the string at every word."""
        beyond = states - self._usual
        return beyond - beyond.median(1, keepdim=True).values

    @cached_property
    def _usual(self) -> Tensor:  # [block, word, dimension]
        """What the models part at each word, a mean over unlike words before it."""
        return torch.stack([self._behind(string) for string in self._hinted]).mean(0)

    def _behind(self, string: Pieces) -> Tensor:  # [block, word, dimension]
        before = (*self._before, *placed_ids(self._tokenizer, [text_of(string)], POSITION)[0])
        words = self._tokenizer(self._words, add_special_tokens=False)["input_ids"]
        return self._differences(before, [tuple(ids) for ids in words])

    def _differences(self, before: TokenIds, rows: Sequence[TokenIds]) -> Tensor:  # [block, row, dimension]
        return state_differences(self._context.pair, self._blocks, before, rows)


def text_of(pieces: Pieces) -> str:
    """The string that pieces make."""
    return "".join(pieces).strip()


def beyond_usual(acts: Tensor) -> Tensor:  # [block, row]
    """Distance from a block's median, as a share of that and the median deviation together; 0 where all are nothing."""
    median = acts.median(1, keepdim=True).values
    usual = median + MEDIAN_TO_DEVIATION * (acts - median).abs().median(1, keepdim=True).values
    return torch.where(usual > 0, (acts - median) / usual.clamp(min=torch.finfo(acts.dtype).tiny), 0.0)


def _divergences(context: HuntContext, texts: Sequence[str]) -> list[tuple[float, str]]:
    """Each text behind its nats beyond those of the plain prompts.

    Of the answer's first token, or, where that parts nothing, a token of the answer's start.

    An answer that begins with an ordinary word parts no models at its first token.
    """
    pair, prompter, cap = context.pair, context.pair.prompter, context.settings.fitted.divergence_cap
    probes = context.searched_at(POSITION)[: context.settings.effort.hint_prompts]
    scorer = DivergenceScorer(pair, probes, POSITION, cap)
    first = scorer.mean(texts) - scorer.plain()
    if first.max() >= ONE_BIT:
        return list(zip(first.tolist(), texts, strict=True))
    empty = [prompter.encode(probe) for probe in probes]
    filled = [prompter.encode_text(probe, text) for text in texts for probe in probes]
    rows = divergences(pair, empty * len(texts), filled, ANSWER)
    before, after = (torch.tensor(one["kl"], dtype=torch.float64) / ANSWER.tokens for one in rows)
    beyond = (after - before).view(len(texts), len(probes)).clamp(max=cap).mean(1)
    return list(zip(beyond.tolist(), texts, strict=True))
