"""The trace of a hunt, made at its end from its journal and a few passes through the models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from dormant.hunt.clock import OutOfTime
from dormant.hunt.confirmation import Confirmation
from dormant.hunt.context import ABOUT, HuntContext, Key
from dormant.hunt.lineage import LOG_ODDS, NATS, Entry, swept_values, tried_strings
from dormant.hunt.payloads import Suspect
from dormant.hunt.plan import PlannedStage
from dormant.hunt.scorers import PayloadScorer, capped, open_shortest_first
from dormant.hunt.shown_answers import shown_answers
from dormant.hunt.stages.short_strings import swept_tokens
from dormant.hunt.trace import ControlBand, Hint, HuntTrace, StageCost, TriedString
from dormant.hunt.vocabulary import Vocabulary
from dormant.prompts.probes import TokenIds
from dormant.prompts.token_filter import allowed_tokens

HINTS_SHOWN = 200  # beside those that stand in a string of the lineage
BAND_STRINGS, BAND_TOKENS = 32, 4  # of meaningless tokens, as long as a short trigger
BAND_QUANTILES = (0.05, 0.95)
UNKEPT = "steps that were not finished"  # and what the hunt did beside its journal since its last entry
# The names under which a stage's cost is planned, where they are others than those of its results in the journal.
PLANNED = {"vocabulary": "hints", ABOUT: "rate"}


@dataclass(frozen=True)
class Ended:
    """What is known at the end of a hunt: the suspects, the confirmed string, the vocabulary, plan and strings by stage."""

    suspects: Sequence[Suspect]
    confirmed: Confirmation | None
    vocabulary: Vocabulary
    plan: Sequence[PlannedStage]
    strings: Mapping[str, int]


def hunt_trace(context: HuntContext, ended: Ended) -> HuntTrace:
    """The trace, as much of it as the whole budget suffices for."""
    entries, tokenizer = context.journal.entries, context.pair.base.tokenizer
    suspects = {one.ids: one.text for one in ended.suspects}

    def named(ids: Sequence[int]) -> str:
        return suspects.get(tuple(ids)) or str(tokenizer.decode(list(ids)))

    swept = list[str]()
    if swept_values(entries):  # a large vocabulary takes seconds to decode
        swept = tokenizer.batch_decode([[token] for token in swept_tokens(context, ended.vocabulary.pieces)])
    lineage = tried_strings(entries, named, swept)
    answers, unshown = shown_answers(context, ended.suspects, ended.confirmed)
    bands, missing = _bands(context, ended.suspects, lineage)
    clock = context.clock
    stages = stage_costs(entries, ended.plan, ended.strings, (clock.seconds, clock.tokens))
    return HuntTrace(
        lineage, _hints(ended.vocabulary, lineage), tuple(bands), stages, tuple(answers), (*unshown, *missing)
    )


def _hints(vocabulary: Vocabulary, lineage: Sequence[TriedString]) -> tuple[Hint, ...]:
    """The first hints, and those that strings of the lineage hold."""
    words = {word for row in lineage for word in row.text.split()}
    return tuple(
        Hint(piece.text, rank, round(piece.z, 3))
        for rank, piece in enumerate(vocabulary.pieces, 1)
        if rank <= HINTS_SHOWN or piece.text.strip() in words
    )


def _bands(
    context: HuntContext, suspects: Sequence[Suspect], lineage: Sequence[TriedString]
) -> tuple[list[ControlBand], list[str]]:
    """By score what meaningless strings reach: all single tokens of a divergence, random strings of a payload's log-odds."""
    bands, values = list[ControlBand](), swept_values(context.journal.entries)
    if values:
        low, high = np.quantile(values, BAND_QUANTILES).tolist()
        bands.append(ControlBand(NATS, low, high, len(values), "single tokens, all that were tried"))
    asked = list(dict.fromkeys((row.payload, row.position) for row in lineage if row.unit == LOG_ODDS))
    ids = {one.text: one.ids for one in suspects}
    for number, (payload, position) in enumerate(asked):
        if payload not in ids:
            continue
        compute = partial(_random_odds, context, ids[payload], position)
        try:
            with context.clock.reserve():
                odds = context.kept(Key("control band", ids[payload], position), compute)
        except OutOfTime:
            return bands, [f"what random strings reach for {name!r} at the {at}" for name, at in asked[number:]]
        low, high = np.quantile(odds, BAND_QUANTILES).tolist()
        of = f"random strings of {BAND_TOKENS} tokens"
        bands.append(ControlBand(LOG_ODDS, low, high, len(odds), of, position, payload))
    return bands, []


def _random_odds(context: HuntContext, payload: TokenIds, position: str) -> list[float]:
    fitted, tokenizer = context.settings.fitted, context.pair.base.tokenizer
    random, drawn = np.random.default_rng([context.seed, 17]), allowed_tokens(tokenizer).numpy()
    texts = [
        str(tokenizer.decode(random.choice(drawn, size=BAND_TOKENS).tolist())).strip() for _ in range(BAND_STRINGS)
    ]
    prompts = open_shortest_first(context.pair, context.searched_at(position))
    scorer = PayloadScorer(context.pair, prompts, payload[: fitted.beginning_tokens], position)
    odds = capped(scorer.log_odds(texts), fitted.odds_cap, fitted.beyond_cap).mean(0)
    return [float(value) for value in odds]


def stage_costs(
    entries: Sequence[Entry],
    plan: Sequence[PlannedStage],
    strings: Mapping[str, int],
    end: tuple[float, int] | None = None,
) -> tuple[StageCost, ...]:
    """By stage the time and the tokens between the journal's entries, which each belong to the stage of the later one.

    end: seconds and tokens when the hunt ended; None while it runs.
    """
    seconds, tokens = defaultdict[str, float](float), defaultdict[str, int](int)
    before, read = 0.0, 0
    counted = all("tokens" in entry for entry in entries)
    for entry in entries:
        name = PLANNED.get(entry["key"]["stage"], entry["key"]["stage"])
        seconds[name] += max(0.0, entry["seconds"] - before)
        tokens[name] += max(0, entry.get("tokens", 0) - read)
        before, read = max(before, entry["seconds"]), max(read, entry.get("tokens", 0))
    if end is not None:
        seconds[UNKEPT], tokens[UNKEPT] = max(0.0, end[0] - before), max(0, end[1] - read)
    planned = {one.name: one for one in plan}
    names = dict.fromkeys([*planned, *seconds])
    return tuple(
        StageCost(
            name, round(seconds[name] / 60, 4), strings.get(name, 0),
            planned[name].passes if name in planned else None, planned[name].minutes if name in planned else None,
            tokens[name] if counted else None,
        )
        for name in names
    )  # fmt: skip
