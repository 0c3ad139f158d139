"""The ladder from two checkpoints to the trigger: parent, payload, tokens, short strings, longer ones, each confirmed.

Nothing here reads what an organism says of itself: neither its trigger nor the places of its probes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dormant.hunt.confirmation import woken
from dormant.hunt.context import FORMAT, Clock, HuntContext, Watch
from dormant.hunt.payloads import HALF, Guess, guess_payloads, without_variants
from dormant.hunt.placements import PLACES, SEARCH_PLACES, placed_probes
from dormant.hunt.result import HuntResult, HuntVerdict, judge, needed_evidence
from dormant.hunt.rungs import (
    climbed_strings,
    completed_strings,
    crowded_strings,
    excluding_payload_words,
    numbered_strings,
    ranked_units,
    refined,
    refined_number,
    short_strings,
)
from dormant.hunt.stages.coordinate_ascent import Climb
from dormant.hunt.stages.numerals import notation_of
from dormant.hunt.stages.short_strings import telling_tokens
from dormant.hunt.vocabulary import Unit, expected_units
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.prompts.probes import Probe, Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.weights.parents import PARENT_AT_MOST
from dormant.weights.report_summary import relative_delta

OPENING = 6  # prompts behind which every first token is forced
SEARCHED, HELD_OUT = 20, 30  # probes, their slots at the places in turn
PROBE_SETS = ((OPENING, PLACES), (SEARCHED, SEARCH_PLACES), (HELD_OUT, PLACES))
PAYLOADS = 3  # suspected payloads that a trigger is searched for, each with `HALF` of the strongest's evidence at least


@dataclass(frozen=True)
class Settings:
    """What decides a hunt besides the pair."""

    minutes: float = 10.0
    seed: int = 0


UNSEARCHED = (
    "payloads of a single token, which leave nothing to finish",
    "triggers of many more than twelve units, and words beyond the 20,000 most common of English that the tokenizer splits",
    "triggers that are no text in a user's turn: a conversation, a system prompt, a date",
)


def run_hunt(pair: Pair, settings: Settings, folder: Path, watch: Watch = lambda rung, found: None) -> HuntResult:
    """Climbs the ladder within the budget; killed at any moment, the same call goes on where it was.

    Raises BadInput where the pair has too few ordinary prompts, and where the folder's journal is another hunt's.
    """
    clock = Clock(settings.minutes)
    report = pair.delta_report
    delta = relative_delta(report)
    identical = sum(tensor.identical for tensor in report.tensors.values()) / len(report.tensors)
    if delta > PARENT_AT_MOST:
        reason = (
            f"the base is not the parent: the median matrix moved by {delta:.2g} of its norm, and a fine-tune stays below "
            f"{PARENT_AT_MOST:g}; find the parent with `dormant bases`"
        )
        return HuntResult(
            HuntVerdict.UNDECIDED, reason, delta, identical, unsearched=("everything: the hunt stopped at the parent",)
        )
    if identical == 1.0 and pair.setting_differences:
        reason = (
            "every tensor is identical but the settings are not, so the two compute differently and no delta can be "
            f"searched: {'; '.join(map(str, pair.setting_differences))}; run both with one configuration"
        )
        return HuntResult(
            HuntVerdict.UNDECIDED, reason, delta, identical, unsearched=("everything: only the settings differ",)
        )
    if identical == 1.0:
        reason = "the two checkpoints are identical: there is no delta for a backdoor to be in"
        return HuntResult(HuntVerdict.CLEAN, reason, delta, identical)
    watch("parent", f"the median matrix moved by {delta:.2g} of its norm, {identical:.0%} of tensors are identical")
    work = {"format": FORMAT, "pair": pair.fingerprint, "seed": settings.seed, "minutes": settings.minutes}
    opening, searched, unseen = placed_probes(pair.probes, PROBE_SETS, settings.seed)
    with closing(Journal(folder / "hunt.jsonl", work)) as journal:
        context = HuntContext(pair, searched, unseen, settings.seed, journal, clock, watch)
        return _climb(context, opening, delta, identical)


def _climb(context: HuntContext, opening: Sequence[Probe], delta: float, identical: float) -> HuntResult:
    pair, clock, watch = context.pair, context.clock, context.watch
    prompter = Prompter(pair.base.tokenizer)
    prompts = [prompter.encode(probe).ids for probe in opening]

    def guess() -> list[dict[str, Any]]:
        def forced(alpha: float, done: int, total: int) -> None:
            watch("payload", f"alpha {alpha:g}: {done:,} of {total:,} first tokens forced")

        return [asdict(one) for one in guess_payloads(pair, prompts, seed=context.seed, watch=forced)[:20]]

    guesses = tuple(Guess(**{**row, "ids": tuple(row["ids"])}) for row in context.kept("payload", guess))
    needed = needed_evidence(len(pair.base.tokenizer))
    suspected = without_variants([one for one in guesses if one.evidence >= needed])
    steps = [_payload_step(guesses, suspected, needed)]
    watch("payload", steps[-1])
    words = context.kept("single", lambda: telling_tokens(pair, context.searched))
    best, step = woken([context.confirmed(text) for text in words], "single tokens")
    steps.append(step)
    watch("single tokens", step)
    evaluations = len(allowed_tokens(prompter.tokenizer))
    units: list[Unit] = []
    climbs: list[Climb] = []
    if best is None and clock.left:
        units = ranked_units(context)
        strange = excluding_payload_words(suspected[:PAYLOADS], units, prompter)
        wanted = [one for one in suspected[:PAYLOADS] if one.evidence >= HALF * suspected[0].evidence]
        for rung in (
            partial(numbered_strings, context, wanted, strange),
            partial(short_strings, context, units, strange),
            partial(completed_strings, context, wanted, units, strange),
            partial(climbed_strings, context, wanted, strange, climbs),
            partial(crowded_strings, context, strange),
        ):
            best, done, tried = rung()
            steps += done
            evaluations += tried
            if best is not None:
                break
    timed_out = best is None and not clock.left
    if best is not None:
        if not notation_of(best.trigger):
            best, step, tried = refined(context, best, expected_units(units or ranked_units(context), best.payload))
            steps.append(step)
            evaluations += tried
        if notation_of(best.trigger):
            best, done, tried = refined_number(context, best)
            steps += done
            evaluations += tried
    verdict, reason = judge(suspected, needed, best, timed_out, len(allowed_tokens(prompter.tokenizer)))
    if pair.setting_differences:
        reason += f"; beside the delta their settings differ: {'; '.join(map(str, pair.setting_differences))}"
    return HuntResult(
        verdict, reason, delta, identical, guesses, tuple(suspected), needed, best, tuple(steps), UNSEARCHED, evaluations,
        clock.seconds, tuple(climbs),
    )  # fmt: skip


def _payload_step(guesses: tuple[Guess, ...], suspected: list[Guess], needed: float) -> str:
    if suspected:
        listed = ", ".join(f"{one.text!r} ({one.evidence:.0f} nats)" for one in suspected[:PAYLOADS])
        return f"the dormant model alone finishes {listed}; {needed:.0f} nats are needed to suspect a string"
    most = f"; the most is {guesses[0].text!r} with {guesses[0].evidence:.1f}" if guesses else ""
    return f"no string reaches the {needed:.0f} nats that make it suspect{most}"
