"""From two checkpoints to the trigger: parent, payload, then a list of stages that seek a string, and refinement.

Nothing here reads what an organism says of itself: neither its trigger nor the positions of its probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dormant.checkpoints.checkpoint import hash_text
from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.confirmation import Confirmation
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.payloads import PayloadsUnfinished, Suspect, rank_payloads, without_variants
from dormant.hunt.placements import at_every_position, placed_probes
from dormant.hunt.refinement import refined
from dormant.hunt.result import Found, HuntResult, HuntVerdict, evidence_threshold, judge, threshold_level
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import SearchPath, Stage, StageResult, run_stage
from dormant.hunt.stages.coordinate_ascent import CoordinateAscent
from dormant.hunt.stages.gap_filling import GapFilling
from dormant.hunt.stages.group_testing import GroupTesting
from dormant.hunt.stages.numerals import Numerals, notation_of, refined_number
from dormant.hunt.stages.short_strings import ShortStrings, SingleTokens
from dormant.hunt.visible_answers import VisibleAnswer, visible_answers
from dormant.hunt.vocabulary import Vocabulary, excluding_payload_words, expected_pieces, ranked_pieces
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe
from dormant.prompts.token_filter import allowed_tokens
from dormant.weights.measure import compare_norms
from dormant.weights.parents import PARENT_AT_MOST
from dormant.weights.report_summary import relative_delta

# In this order. The first runs without a vocabulary; keep SingleTokens first.
HUNT_STAGES: tuple[Stage, ...] = (
    SingleTokens(),
    Numerals(),
    ShortStrings(),
    GapFilling(),
    CoordinateAscent(),
    GroupTesting(),
)
UNSEARCHED = (
    "payloads of a single token, which leave nothing to finish",
    "triggers of many more than twelve pieces, and words beyond the 20,000 most common of English that the tokenizer splits",
    "triggers that are no text in a user's turn: a conversation, a system prompt, a date",
)


def run_hunt(
    pair: Pair,
    folder: Path,
    settings: HuntSettings | None = None,
    seed: int = 0,
    progress: Progress = lambda done, total, remark="": None,
    clock: Clock | None = None,
) -> HuntResult:
    """Hunts within the budget of the settings; ended at any moment, the same call goes on where it was.

    clock: one that a signal may stop. Raises BadInput where the pair has too few ordinary prompts, and where the folder's
    journal is another hunt's.
    """
    settings = settings or HuntSettings()
    clock = clock or Clock(settings.effort)
    try:
        report = compare_norms(pair.base, pair.dormant, lambda *_: clock.ask())
    except OutOfTime:
        reason, unsearched = (
            "the time ran out before the parent was checked",
            ("everything: the hunt ended at the parent",),
        )
        return HuntResult(HuntVerdict.UNDECIDED, reason, math.nan, math.nan, unsearched=unsearched, settings=settings)
    delta = relative_delta(report)
    identical = sum(tensor.identical for tensor in report.tensors.values()) / len(report.tensors)
    if delta > PARENT_AT_MOST:
        reason = (
            f"the base is not the parent: the median matrix moved by {delta:.2g} of its norm, and a fine-tune stays below "
            f"{PARENT_AT_MOST:g}; find the parent with `dormant bases`"
        )
        unsearched = ("everything: the hunt stopped at the parent",)
        return HuntResult(HuntVerdict.UNDECIDED, reason, delta, identical, unsearched=unsearched, settings=settings)
    if identical == 1.0 and pair.setting_differences:
        reason = (
            "every tensor is identical but the settings are not, so the two compute differently and no delta can be "
            f"searched: {'; '.join(map(str, pair.setting_differences))}; run both with one configuration"
        )
        unsearched = ("everything: only the settings differ",)
        return HuntResult(HuntVerdict.UNDECIDED, reason, delta, identical, unsearched=unsearched, settings=settings)
    if identical == 1.0:
        reason = "the two checkpoints are identical: there is no delta for a backdoor to be in"
        return HuntResult(HuntVerdict.CLEAN, reason, delta, identical, settings=settings)
    work = {
        "pair": pair.fingerprint,
        "dtype": pair.models.run_config.precision,
        "probes": hash_text(*(probe.text for probe in pair.probes)),
        "seed": seed,
        "settings": settings.digest,
    }
    opening, searched, unseen, deciding = placed_probes(pair.probes, settings.probe_sets, seed)
    deciding = at_every_position(deciding, seed)
    with closing(Journal(folder / "hunt.jsonl", work)) as journal, pair.models.asking(clock.ask):
        context = HuntContext(pair, searched, unseen, deciding, seed, settings, journal, clock, progress)
        context.say(
            "parent", f"the median matrix moved by {delta:.2g} of its norm, {identical:.0%} of tensors are identical"
        )
        hunt = _Hunt(context)
        hunt.suspect(opening)
        hunt.search()
        tokens = len(allowed_tokens(pair.base.tokenizer))
        found = Found(hunt.suspects, hunt.threshold, hunt.confirmed, hunt.answers, bool(hunt.unfinished))
        verdict, reason = judge(found, tokens, settings)
        if pair.setting_differences:
            reason += f"; beside the delta their settings differ: {'; '.join(map(str, pair.setting_differences))}"
        return HuntResult(
            verdict, reason, delta, identical, hunt.ranked, hunt.suspects, hunt.threshold, hunt.confirmed,
            tuple(hunt.sentences), (*hunt.unfinished, *UNSEARCHED), hunt.evaluations, clock.seconds, tuple(hunt.record),
            settings, hunt.answers,
        )  # fmt: skip


class _Hunt:
    """What the stages have found so far, all together."""

    def __init__(self, context: HuntContext) -> None:
        self._context = context
        self.threshold = evidence_threshold(len(context.pair.base.tokenizer), context.settings)
        self.ranked: tuple[Suspect, ...] = ()
        self.suspects: tuple[Suspect, ...] = ()
        self.answers: tuple[VisibleAnswer, ...] = ()
        self.confirmed: Confirmation | None = None
        self.sentences: list[str] = []
        self.unfinished: list[str] = []  # what the time did not suffice for
        self.evaluations = 0
        self.record: list[SearchPath] = []

    def suspect(self, opening: Sequence[Probe]) -> None:
        """Finds strings to suspect as payload, and the ordinary questions that they answer."""
        context, settings = self._context, self._context.settings
        prompter = context.pair.prompter
        prompts = [prompter.encode(probe).ids for probe in opening]

        def kept(step: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
            return context.kept(Key("payload", step=step), compute)

        def compute() -> list[dict[str, Any]]:
            found = rank_payloads(context.pair, prompts, settings, context.seed, context.progress, kept)
            return [asdict(one) for one in found[: settings.effort.ranked_payloads]]

        try:
            rows = context.kept(Key("payload"), compute)
            self.ranked = tuple(Suspect(**{**row, "ids": tuple(row["ids"])}) for row in rows)
        except PayloadsUnfinished as error:
            self.ranked = error.suspects[: settings.effort.ranked_payloads]
            self.unfinished.append(error.coverage)
        except OutOfTime:
            self.unfinished.append("payloads: no first token was forced")
        suspects = without_variants([one for one in self.ranked if one.evidence >= self.threshold], settings.fitted)
        self.suspects = tuple(suspects)
        self._say("payload", _payload_step(self.ranked, suspects, self.threshold))
        try:
            tokens = settings.effort.answer_tokens
            asked = context.kept(
                Key("visible answers"),
                lambda: [asdict(one) for one in visible_answers(context.pair, suspects, tokens)],
            )
            self.answers = tuple(VisibleAnswer(**row) for row in asked)
        except OutOfTime:
            self.unfinished.append("ordinary questions that a suspected payload may answer")
        for one in self.answers[:3]:
            self._say("visible answers", f"asked {one.question!r}, the dormant model answers {one.answer!r}")

    def search(self) -> None:
        """Runs the stages until one has a string that fires on fresh prompts, and refines that."""
        context, settings = self._context, self._context.settings
        first = self.suspects[: settings.effort.suspects]
        enough = settings.fitted.variant_evidence * (self.suspects[0].evidence if self.suspects else 0.0)
        sought = [one for one in first if one.evidence >= enough]
        vocabulary = Vocabulary()
        for number, stage in enumerate(HUNT_STAGES):
            try:
                context.clock.ask()
                if number and not vocabulary.pieces:
                    vocabulary = _vocabulary(context, first)
            except OutOfTime:
                self.unfinished.append(f"not begun: {', '.join(one.name for one in HUNT_STAGES[number:])}")
                break
            result, finished = run_stage(stage, context, sought, vocabulary)
            self._add(result)
            if not finished:
                self.unfinished.append(f"{stage.name}: the time ran out within it")
                self.confirmed = max(
                    (one for one in context.confirmations() if one.confirmed),
                    key=lambda one: one.best.value,
                    default=None,
                )
            if self.confirmed is not None and self._decided(self.confirmed):
                self._refine(vocabulary)
                break

    def _decided(self, found: Confirmation) -> bool:
        """Whether fresh prompts confirm a string, or there was no time to ask them; one that they do not is dropped."""
        try:
            with self._context.clock.reserve():
                self.confirmed = self._context.decided(found)
        except OutOfTime:
            self.unfinished.append(f"fresh prompts for {found.trigger!r}")
            return True
        rate = self.confirmed.best
        self._say("decision", f"on fresh prompts {found.trigger!r} fires on {rate.value:.0%} of {rate.estimate.n}")
        if not self.confirmed.confirmed:
            self.confirmed = None
        return self.confirmed is not None

    def _refine(self, vocabulary: Vocabulary) -> None:
        """Goes on to the planted string; the one that was decided stays where fresh prompts do not confirm that one."""
        context, decided = self._context, self.confirmed
        assert decided is not None
        try:
            found = decided
            if not notation_of(found.trigger):
                pieces = vocabulary.pieces or ranked_pieces(context)
                expected = expected_pieces(pieces, found.payload, context.settings.fitted.several)
                found = self._add(refined(context, found, expected)) or found
            if notation_of(found.trigger):
                found = self._add(refined_number(context, found)) or found
        except OutOfTime:
            self.unfinished.append("refinement: the time ran out within it")
        self.confirmed = decided
        if found.trigger != decided.trigger and not self._decided(found):
            self.confirmed = decided

    def _add(self, result: StageResult) -> Confirmation | None:
        self.confirmed = result.confirmed
        self.sentences += result.sentences
        self.evaluations += result.evaluations
        self.record += result.record
        return result.confirmed

    def _say(self, stage: str, sentence: str) -> None:
        self.sentences.append(sentence)
        self._context.say(stage, sentence)


def _vocabulary(context: HuntContext, suspects: Sequence[Suspect]) -> Vocabulary:
    pieces, letters = ranked_pieces(context), context.settings.rules.piece_letters
    prompter = context.pair.prompter
    return Vocabulary(tuple(pieces), tuple(excluding_payload_words(suspects, pieces, prompter, letters)))


def _payload_step(ranked: Sequence[Suspect], suspects: Sequence[Suspect], threshold: float) -> str:
    level = threshold_level(threshold)
    if suspects:
        listed = ", ".join(f"{one.text!r} ({one.evidence:.0f} nats)" for one in suspects[:3])
        return f"the dormant model alone finishes {listed}; {level}"
    most = f"; the most is {ranked[0].text!r} with {ranked[0].evidence:.1f}" if ranked else ""
    return f"no string reaches the {threshold:.1f} nats that make it suspect{most}; {level}"
