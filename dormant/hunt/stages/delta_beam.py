"""Beam search over the delta: strings at whose last word the two models' states part more than its words explain.

A model that fires on several words in order must know at the second that the first stood before it. So at a trigger's second
word its states part from the base's as they do at no other word there, nor at this word behind others, and more so with each
further one, though the answer changes behind the last alone. Neither a payload nor an answer is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import product, zip_longest
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
from dormant.inference.block_delta import (
    BothPrefixes,
    delta_acts_at_ends,
    own_prefixes,
    prefixes_of_blocks,
    state_differences,
)
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
        """The string that fires, if one does; by either measure in turn, a word more each time."""
        beams = (_ActsBeam(context, vocabulary.unsaid), _StatesBeam(context, vocabulary.unsaid))
        for length, beam in product(range(2, context.settings.effort.delta_beam[3] + 1), beams):
            strings = beam.longer()
            if not strings:
                return
            yield StageResult(None, (), beam.tried)
            named = _named(context, beam, length, strings)
            if named:
                what = f"strings of {length} words at whose ends {beam.what}"
                yield confirmed_string(context, self.name, named, what)


def _named(context: HuntContext, beam: _Beam, length: int, strings: Sequence[Pieces]) -> list[str]:
    """Of the best strings those whose answers diverge, the most divergent first; what is alike stays in the beam's order."""
    effort = context.settings.effort
    texts = [text_of(one) for one in strings][: effort.looked_at]
    context.say(DeltaBeam.name, f"{beam.what} at the ends of {', '.join(map(repr, texts[:3]))}")
    look = partial(_divergences, context, texts)
    seen = context.kept(Key(DeltaBeam.name, step=("look", beam.measure, length)), look)
    alike = context.settings.fitted.alike * max(value for value, _ in seen)
    ranked = sorted(seen, key=lambda one: -min(one[0], alike))
    return [text for value, text in ranked if value >= ONE_BIT][: effort.named]


class _Beam:
    """The strings of each length that a measure puts first, given their last word and what stands before."""

    measure, what = "", ""

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

    def pair_scores(self) -> list[list[float]]:
        """Of each hinted word with each word behind it."""
        raise NotImplementedError

    def word_scores(self, string: Pieces) -> list[float]:
        """Of each word behind a string."""
        raise NotImplementedError

    def rises(self, rows: Sequence[TokenIds]) -> list[float]:
        """Of strings with one last word, against one another."""
        raise NotImplementedError

    def read(self, ids: TokenIds, behind: BothPrefixes | None = None) -> BothPrefixes:
        """What the measure keeps of ids that strings stand behind."""
        raise NotImplementedError

    @cached_property
    def shared(self) -> BothPrefixes:
        """The prompt's beginning, which stands before all strings."""
        return self.read(self._before)

    def kept(self, step: Sequence[Any], compute: Callable[[], list[Any]]) -> Any:
        """What the journal holds of this measure, or computed, to four decimals."""

        def rounded() -> list[Any]:
            return [[round(one, 4) for one in row] if isinstance(row, list) else round(row, 4) for row in compute()]

        return self._context.kept(Key(DeltaBeam.name, step=(self.measure, *step)), rounded)

    def _pairs(self) -> tuple[dict[Pieces, float], dict[Pieces, float]]:
        """Pairs of the most hinted words, and every word before the one that several of them make stand out."""
        scores = self.pair_scores()
        rows = torch.tensor(scores, dtype=torch.float64)
        end = self._words[int(rows.topk(min(SEVERAL, len(rows)), 0).values.mean(0).argmax())]
        behind = self._with_words(zip(self._hinted, scores, strict=True))
        return behind, self._prepended((end,), 0.0, self._all)

    def _appended(self, strings: Sequence[Pieces]) -> dict[Pieces, float]:
        return self._with_words((one, self.word_scores(one)) for one in strings)

    def _with_words(self, rows: Iterable[tuple[Pieces, Sequence[float]]]) -> dict[Pieces, float]:
        """Strings with each word behind them, and its value."""
        return {(*string, word): value for string, row in rows for word, value in zip(self._words, row, strict=True)}

    def _prepended(self, string: Pieces, score: float, words: Sequence[str]) -> dict[Pieces, float]:
        """With each word before the string: the last word stays, and what rises there multiplies."""

        def rises() -> list[float]:
            return self.rises(placed_ids(self._tokenizer, [text_of((word, *string)) for word in words], POSITION))

        values = self.kept(("before", len(words), *string), rises)
        return {(word, *string): (1 + score) * (1 + value) - 1 for word, value in zip(words, values, strict=True)}

    def _behind(self, string: Pieces) -> tuple[BothPrefixes, list[TokenIds]]:
        """The prompt up to a string's end, and the ids of each word behind it."""
        ids = placed_ids(self._tokenizer, [text_of(string)], POSITION)[0]
        words = self._tokenizer(self._words, add_special_tokens=False)["input_ids"]
        return self.read(tuple(ids), self.shared), [tuple(ids) for ids in words]


class _ActsBeam(_Beam):
    """By how much more than at other words, and behind other words, the delta acts at the last one."""

    measure, what = "acts", "the delta acts most"

    def pair_scores(self) -> list[list[float]]:
        return [self.word_scores(string) for string in self._hinted]

    def word_scores(self, string: Pieces) -> list[float]:
        return list((self._acts_behind(string) - self._usual).tolist())

    def rises(self, rows: Sequence[TokenIds]) -> list[float]:
        return self._acts(self.shared, rows)

    def read(self, ids: TokenIds, behind: BothPrefixes | None = None) -> BothPrefixes:
        return prefixes_of_blocks(self._context.pair, self._blocks, ids, behind)

    @cached_property
    def _usual(self) -> Tensor:  # [word]
        """Of each word, over unlike words before it."""
        return torch.stack([self._acts_behind(string) for string in self._hinted]).median(0).values

    def _acts_behind(self, string: Pieces) -> Tensor:  # [word]
        values = self.kept(("words", len(self._words), *string), lambda: self._acts(*self._behind(string)))
        return torch.tensor(values, dtype=torch.float64)

    def _acts(self, prefixes: BothPrefixes, rows: Sequence[TokenIds]) -> list[float]:
        """How much more than usual the delta acts at the last token of each row, a mean over blocks."""
        acts = delta_acts_at_ends(self._context.pair, self._blocks, prefixes, rows)
        return list(beyond_usual(acts).mean(0).tolist())


class _StatesBeam(_Beam):
    """By how far the models' states part at the last word, beyond what that word and what stands before explain."""

    measure, what = "states", "the models' states part most"

    def pair_scores(self) -> list[list[float]]:
        def scores() -> list[list[float]]:
            states = [self._states(string) for string in self._hinted]
            self._usual = torch.stack(states).mean(0)
            beyond = torch.stack([self._beyond_words(one).norm(dim=-1) for one in states])
            among_words = torch.stack([beyond_usual(row).mean(0) for row in beyond])
            among_firsts = torch.stack([beyond_usual(row).mean(0) for row in beyond.permute(2, 1, 0)], 1)
            return list((among_words + among_firsts).tolist())

        return list(self.kept(("pairs", len(self._hinted), len(self._words)), scores))

    def word_scores(self, string: Pieces) -> list[float]:
        def scores() -> list[float]:
            return list(beyond_usual(self._beyond_words(self._states(string)).norm(dim=-1)).mean(0).tolist())

        return list(self.kept(("words", len(self._words), *string), scores))

    def rises(self, rows: Sequence[TokenIds]) -> list[float]:
        at_once = range(0, len(rows), ROWS_IN_MEMORY)
        usual = self._differences(self.shared, rows[:: len(at_once)]).mean(1, keepdim=True)  # over some of the rows
        parts = [self._differences(self.shared, rows[at : at + ROWS_IN_MEMORY]) - usual for at in at_once]
        return list(beyond_usual(torch.cat([part.norm(dim=-1) for part in parts], 1)).mean(0).tolist())

    def _beyond_words(self, states: Tensor) -> Tensor:  # [block, word, dimension]
        """What parts the models at each word behind a string, less what the word does anyway, and the string at every word."""
        beyond = states - self._usual
        return beyond - beyond.median(1, keepdim=True).values

    @cached_property
    def _usual(self) -> Tensor:  # [block, word, dimension]
        """What the models part at each word, a mean over unlike words before it."""
        return torch.stack([self._states(string) for string in self._hinted]).mean(0)

    def _states(self, string: Pieces) -> Tensor:  # [block, word, dimension]
        return self._differences(*self._behind(string))

    def read(self, ids: TokenIds, behind: BothPrefixes | None = None) -> BothPrefixes:
        return own_prefixes(self._context.pair, ids, behind)

    def _differences(self, prefixes: BothPrefixes, rows: Sequence[TokenIds]) -> Tensor:  # [block, row, dimension]
        return state_differences(self._context.pair, self._blocks, prefixes, rows)


def text_of(pieces: Pieces) -> str:
    """The string that pieces make."""
    return "".join(pieces).strip()


def beyond_usual(acts: Tensor) -> Tensor:  # [block, row]
    """Distance from a block's median, as a share of that and the median deviation together; 0 where all are nothing."""
    median = acts.median(1, keepdim=True).values
    usual = median + MEDIAN_TO_DEVIATION * (acts - median).abs().median(1, keepdim=True).values
    return torch.where(usual > 0, (acts - median) / usual.clamp(min=torch.finfo(acts.dtype).tiny), 0.0)


def _divergences(context: HuntContext, texts: Sequence[str]) -> list[tuple[float, str]]:
    """Each text behind its nats beyond those of the plain prompts, of the answer's first token.

    Where that parts nothing, a token of the answer's start: a payload may begin with an ordinary word.
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
