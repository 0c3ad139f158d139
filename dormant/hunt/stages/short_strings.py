"""Single tokens, and short strings of the most hinted pieces, at which the two models diverge, whatever the payload is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations

import torch
from torch import Tensor

from dormant.hunt.clock import OutOfTime
from dormant.hunt.confirmation import Confirmation, best_confirmed, minimised
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import Suspect
from dormant.hunt.placements import CHEAPEST_FIRST, SEARCH_POSITIONS, placed_ids
from dormant.hunt.scorers import DivergenceScorer
from dormant.hunt.stage import StageResult, successive_halving
from dormant.hunt.vocabulary import Piece, Vocabulary, reads_as_text
from dormant.inference.evaluator import Evaluator
from dormant.inference.objectives import kl
from dormant.prompts.probes import Probe, TokenIds
from dormant.prompts.token_filter import allowed_tokens

TOKENS_A_STEP, STRINGS_A_STEP = 256, 512  # that the journal keeps together: on a slow machine a turn has time for some
SCREENING = "screening"  # the stage of a key to values of strings, of which the best are kept by a stage's own key
Lengths = tuple[tuple[int, int], ...]  # by the number of pieces in a string, of how many pieces every order is tried


class SingleTokens:
    """Every token that a person could type, or the most hinted of them; it needs no suspects."""

    name, seeks_payload = "single tokens", False

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The token that fires, if one does."""
        tokens = swept_tokens(context, vocabulary.pieces)
        texts, tried = most_divergent_tokens(context, tokens)
        yield StageResult(None, (), tried)
        best, step = best_confirmed([context.confirmed(text) for text in texts], self.name)
        context.say(self.name, step)
        yield StageResult(best, (step,))
        if tried < len(tokens):
            raise OutOfTime


class ShortStrings:
    """Every order of a few hinted pieces: first without the payload's words, which are hinted as well, then with them."""

    name, seeks_payload = "short strings", False

    def parts(self, context: HuntContext, suspects: Sequence[Suspect], vocabulary: Vocabulary) -> Iterator[StageResult]:
        """The short string that fires, if one does."""
        lengths, pieces = context.settings.effort.short_strings, vocabulary.pieces
        first = max(count for _, count in lengths)
        hinted = [("", vocabulary.unsaid)]
        if pieces[:first] != vocabulary.unsaid[:first]:
            hinted.append((" that may hold words of the payload", pieces))
        for position in CHEAPEST_FIRST:
            for which, words in hinted:
                what = f"{self.name} at the {position}{which}"
                key = Key(self.name, step=(position, which))
                yield from divergent_string(context, key, orders_of(words, lengths), what, (position,))


class StringsUnfinished(OutOfTime):
    """The time ran out while strings were screened: those to look at among as many as were tried."""

    def __init__(self, texts: Sequence[str], tried: int) -> None:
        """Of strings that were screened on one prompt the best, by all."""
        super().__init__(f"{tried:,} strings were screened")
        self.texts, self.tried = tuple(texts), tried


def orders_of(pieces: Sequence[Piece], lengths: Lengths) -> dict[str, float]:
    """Every order of the first pieces, each once, with its surprise; pieces: the most hinted first."""
    strings = (one for length, count in lengths for one in permutations(pieces[:count], length))
    return {"".join(piece.text for piece in one).strip(): sum(piece.surprise for piece in one) for one in strings}


def divergent_string(
    context: HuntContext,
    key: Key,
    strings: Mapping[str, float],
    what: str,
    screened: Sequence[str] = SEARCH_POSITIONS,
    least: float = 0.0,
) -> Iterator[StageResult]:
    """The string that fires, if one does of those at which the models diverge most.

    strings: with the surprise of each. screened: the positions at which all are tried; the best are tried at every one. least:
    nats of divergence there beyond that of the plain prompt, without which none is looked at. Where the time runs out, the best
    of the strings so far are looked at all the same, and OutOfTime is raised behind them.
    """
    if not strings:
        return
    late: StringsUnfinished | None = None
    try:
        texts = context.kept(key, partial(most_divergent_strings, context, key, strings, screened, least))
        evaluations = len(strings)
    except StringsUnfinished as error:
        late, texts, evaluations = error, list(error.texts), error.tried
    missed = "" if texts else f"at none of the {evaluations:,} {what} do the models diverge by {least:.2f} nats"
    yield confirmed_string(context, key.stage, texts, what, missed, evaluations)
    if late is not None:
        raise late


def confirmed_string(
    context: HuntContext, stage: str, texts: Sequence[str], what: str, missed: str = "", evaluations: int = 0
) -> StageResult:
    """The string that fires, if one of few does, without the words that it does not need.

    missed: what is said in place of the best string where there is none.
    """
    tried = list[Confirmation]()
    for text in texts:  # a longer string that holds one that fires says nothing new
        late = context.clock.late()  # then one that always fires is enough: fresh prompts have to decide it
        if not any(one.confirmed and (one.trigger in text or (late and _always(one, text))) for one in tried):
            tried.append(context.confirmed(text))
    best, step = best_confirmed(tried, what)
    context.say(stage, missed or step)
    return StageResult(best and minimised(best, context.confirmed), (missed or step,), evaluations)


def _always(one: Confirmation, text: str) -> bool:
    """Whether a string fires on all prompts and is no longer than a text, which no look would then name in its place."""
    return one.best.value == 1 and len(text.split()) >= len(one.trigger.split())


def most_divergent_tokens(context: HuntContext, tokens: Sequence[int]) -> tuple[list[str], int]:
    """The tokens at which the models diverge most, by mean KL, words first of equals; and how many were tried.

    Where the time runs out, the best of the tokens so far; raises OutOfTime where none was tried, or at none of them the
    base's own answers become unlikely.
    """
    fitted, effort = context.settings.fitted, context.settings.effort
    prompter, count = context.pair.prompter, effort.swept[1]
    strings = [(token,) for token in tokens]
    probes = context.searched[: effort.divergence_prompts]
    # One prompt alone has its slot at the end: little follows it.
    evaluator = _divergence(context, probes[1:2] if count == 1 else probes[:count])

    def divergences(some: Sequence[TokenIds]) -> list[float]:
        return list(evaluator.per_probe_of(some).mean(0).tolist())

    steps = ((start, strings[start : start + TOKENS_A_STEP]) for start in range(0, len(strings), TOKENS_A_STEP))
    values = _as_far_as_time(
        context,
        (
            context.kept(Key(SingleTokens.name, step=(at, len(some), count)), partial(divergences, some))
            for at, some in steps
        ),
    )
    tried = len(values)
    strings = strings[:tried]
    if count < len(probes):
        best = values.topk(min(effort.finalists, tried)).indices.tolist()
        strings = [strings[index] for index in best]
        compute = partial(_divergence(context, probes).per_probe_of, strings)
        key = Key(SingleTokens.name, step=("best", tried))
        with context.clock.beyond_turn():
            values = torch.tensor(context.kept(key, lambda: compute().mean(0).tolist()))
    texts = [str(prompter.tokenizer.decode(list(ids))) for ids in strings]
    alike = (values >= fitted.alike * values.max()).tolist()
    # "lass" is how the end of "glass" is read at the start of a prompt: among equals a word is meant.
    order = sorted(
        range(len(strings)), key=lambda one: (not (alike[one] and reads_as_text(texts[one])), -float(values[one]))
    )
    found: list[str] = []
    for index in order:
        if len(found) == effort.named:
            break
        if prompter.survives(context.searched[0], strings[index]) and texts[index].strip() not in found:
            found.append(texts[index].strip())
    return found, tried


def _as_far_as_time(context: HuntContext, rows: Iterable[Sequence[float]]) -> Tensor:  # [string]
    """The divergences of as many strings as there was time for; raises OutOfTime where some lack and none is worth a look."""
    values = list[float]()
    try:
        for row in rows:
            values += row
    except OutOfTime:
        if max(values, default=0.0) < context.settings.rules.silent_base:
            raise
    return torch.tensor(values, dtype=torch.float64)


def swept_tokens(context: HuntContext, pieces: Sequence[Piece]) -> list[int]:
    """The single tokens in the order in which they are tried: the most hinted first."""
    tokenizer = context.pair.prompter.tokenizer
    hinted = {piece.text: rank for rank, piece in enumerate(pieces)}
    every = [int(token) for token in allowed_tokens(tokenizer)]
    every.sort(key=lambda token: hinted.get(str(tokenizer.decode([token])), len(hinted)))
    return every[: context.settings.effort.swept[0]]


def _divergence(context: HuntContext, probes: Sequence[Probe]) -> Evaluator:
    prompter = context.pair.prompter
    return Evaluator(context.pair.models, [prompter.open(probe) for probe in probes], kl())


def most_divergent_strings(
    context: HuntContext,
    key: Key,
    strings: Mapping[str, float],
    screened: Sequence[str] = SEARCH_POSITIONS,
    least: float = 0.0,
) -> list[str]:
    """The strings at which the models diverge most at their better position.

    key: what is kept on the way is named behind it. strings: with the surprise of each. Of strings at which they diverge alike
    those come first that take least to describe.
    """
    fitted, effort, tokenizer = context.settings.fitted, context.settings.effort, context.pair.base.tokenizer

    def scorers(prompts: int, positions: Sequence[str]) -> Iterator[DivergenceScorer]:
        for position in positions:
            yield DivergenceScorer(
                context.pair, context.searched_at(position)[:prompts], position, fitted.divergence_cap
            )

    def divergence(prompts: int, positions: Sequence[str], texts: Sequence[str]) -> Tensor:  # [string]
        return torch.stack([scorer.mean(texts) for scorer in scorers(prompts, positions)]).amax(0)

    def values(some: Sequence[str]) -> list[float]:
        return list(divergence(1, screened, some).tolist())

    texts, screening = list(strings), Key(SCREENING, key.payload, key.position, (key.stage, *key.step))
    steps = ((start, texts[start : start + STRINGS_A_STEP]) for start in range(0, len(texts), STRINGS_A_STEP))
    first = _as_far_as_time(context, (context.kept(screening.then(at), partial(values, some)) for at, some in steps))
    most = first.topk(min(effort.finalists, len(first)))
    enough = least + max(scorer.plain() for scorer in scorers(1, screened)) if least else 0.0
    left = [texts[at] for at, value in zip(most.indices.tolist(), most.values.tolist(), strict=True) if value >= enough]
    found = list[str]()
    if left:
        with context.clock.beyond_turn():
            again = [partial(divergence, effort.divergence_prompts, SEARCH_POSITIONS)]
            ranked, best = successive_halving(left, again, (effort.finalists,))
        ids = placed_ids(tokenizer, ranked, SEARCH_POSITIONS[-1])
        described = {
            text: strings[text] + fitted.token_nats * len(tokens) for text, tokens in zip(ranked, ids, strict=True)
        }
        near = fitted.alike * max(best)
        alike = [text for text, value in zip(ranked, best, strict=True) if value >= near]
        found = [*sorted(alike, key=described.__getitem__), *ranked[len(alike) :]][: effort.named]
    if len(first) < len(texts):
        raise StringsUnfinished(found, len(first))
    return found
