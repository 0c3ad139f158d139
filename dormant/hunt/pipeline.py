"""From two checkpoints to the trigger: parent, payload, then a list of stages that seek a string, and refinement.

Nothing here reads what an organism says of itself: neither its trigger nor the positions of its probes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dormant.checkpoints.checkpoint import hash_text
from dormant.hunt.clock import Clock, OutOfTime
from dormant.hunt.confirmation import Confirmation
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.known_strings import known_strings
from dormant.hunt.needed_part import needed_part
from dormant.hunt.pacing import paced, with_fewer_hints, with_plan
from dormant.hunt.parent import check_parent
from dormant.hunt.payloads import PayloadsUnfinished, Suspect, rank_payloads, without_variants
from dormant.hunt.placements import at_every_position, placed_probes
from dormant.hunt.plan import PlannedStage
from dormant.hunt.refinement import refined
from dormant.hunt.result import Found, HuntResult, evidence_threshold, judge, payload_sentence
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import SearchPath, Stage, StageResult, run_stage
from dormant.hunt.stage_order import BEFORE_HINTS, BEFORE_PAYLOAD, HUNT_STAGES, UNSEARCHED
from dormant.hunt.stages.numerals import notation_of, refined_number
from dormant.hunt.trace import TRACE_FILE
from dormant.hunt.tracing import Ended, hunt_trace
from dormant.hunt.visible_answers import VisibleAnswer, asked_within, visible_answers
from dormant.hunt.vocabulary import Vocabulary, expected_pieces, hinted_vocabulary, unhinted_vocabulary
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe
from dormant.prompts.token_filter import allowed_tokens
from dormant.records import write_json


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
    parent = check_parent(pair, clock, settings)
    if parent.result is not None:
        return parent.result
    work = {
        "pair": pair.fingerprint,
        "dtype": pair.models.run_config.precision,
        "probes": hash_text(*(probe.text for probe in pair.probes)),
        "seed": seed,
        "settings": settings.digest,
    }
    opening, searched, unseen, deciding = placed_probes(pair.probes, settings.probe_sets, seed)
    deciding = at_every_position(deciding, seed)
    with closing(Journal(folder / "hunt.jsonl", work)) as journal, pair.models.asking(clock.ask, clock.count):
        context = HuntContext(pair, searched, unseen, deciding, seed, settings, journal, clock, progress)
        context.say(
            "parent",
            f"the median matrix moved by {parent.delta:.2g} of its norm, {parent.identical:.0%} of tensors are identical",
        )
        whole, pace = context, paced(context)
        context, plan = with_plan(whole, pace)
        for stage in plan:
            context.say("plan", stage.sentence)
        hunt = _Hunt(context, plan)
        context.introduce(hunt.threshold, plan)
        context = hunt.search(opening, lambda sought: with_plan(whole, pace, clock.left, sought)[0])
        tokens = len(allowed_tokens(pair.base.tokenizer))
        found = Found(hunt.suspects, hunt.threshold, hunt.confirmed, hunt.answers, bool(hunt.unfinished), hunt.within())
        verdict, reason = judge(found, tokens, settings)
        if pair.setting_differences:
            reason += f"; beside the delta their settings differ: {'; '.join(map(str, pair.setting_differences))}"
        write_json(folder / TRACE_FILE, hunt_trace(context, hunt.ended(plan)))
        return HuntResult(
            verdict, reason, parent.delta, parent.identical, hunt.ranked, hunt.suspects, hunt.threshold, hunt.confirmed,
            hunt.sentences, (*hunt.unfinished, *UNSEARCHED), hunt.evaluations, clock.seconds, hunt.record,
            context.settings, hunt.answers,
        )  # fmt: skip


class _Hunt:
    """What the stages have found so far, all together."""

    def __init__(self, context: HuntContext, plan: Sequence[PlannedStage]) -> None:
        self._context, self._vocabulary = context, Vocabulary()
        self.threshold = evidence_threshold(len(context.pair.base.tokenizer), context.settings)
        self.ranked: tuple[Suspect, ...] = ()
        self.suspects: tuple[Suspect, ...] = ()
        self.answers: tuple[VisibleAnswer, ...] = ()
        self.confirmed: Confirmation | None = None
        self.unfinished: list[str] = []  # what the time did not suffice for
        self._steps = {
            "plan": StageResult(
                None, tuple(f"planned at {one.rate:,.0f} tokens a second: {one.sentence}" for one in plan)
            )
        }  # by stage or decision, in the order of the first of each

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was done."""
        return tuple(sentence for step in self._steps.values() for sentence in step.sentences)

    @property
    def evaluations(self) -> int:
        """How many strings were scored."""
        return sum(step.evaluations for step in self._steps.values())

    @property
    def record(self) -> tuple[SearchPath, ...]:
        """The paths of coordinate ascent."""
        return tuple(path for step in self._steps.values() for path in step.record)

    def ended(self, plan: Sequence[PlannedStage]) -> Ended:
        """What the trace tells of."""
        strings = {name: step.evaluations for name, step in self._steps.items()}
        return Ended(self.suspects, self.confirmed, self._vocabulary, plan, strings)

    def suspect(self, opening: Sequence[Probe]) -> None:
        """Finds strings to suspect as payload, and the ordinary questions that they answer."""
        context, settings = self._context, self._context.settings

        def kept(step: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
            return context.kept(Key("payload", step=step), compute)

        def compute() -> list[dict[str, Any]]:
            prompter = context.pair.prompter  # it reads the template's opening with a model, which may be late
            prompts = [prompter.encode(probe).ids for probe in (*opening, *context.searched)]
            found = rank_payloads(context.pair, prompts, settings, context.seed, context.progress, kept, self.threshold)
            return [asdict(one) for one in found[: settings.effort.ranked_payloads]]

        try:
            with context.clock.turn(settings.effort.payload_share):
                rows = context.kept(Key("payload"), compute)
            self.ranked = tuple(Suspect(**{**row, "ids": tuple(row["ids"]), "firsts": ()}) for row in rows)
        except PayloadsUnfinished as error:
            self.ranked = error.suspects[: settings.effort.ranked_payloads]
            self.unfinished.append(error.coverage)
        except OutOfTime:
            self.unfinished.append("payloads: no first token was forced")
        suspects = without_variants([one for one in self.ranked if one.evidence >= self.threshold], settings.fitted)
        self.suspects = tuple(suspects)
        self._say("payload", payload_sentence(self.ranked, suspects, self.threshold))
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

    def search(self, opening: Sequence[Probe], planned: Callable[[bool], HuntContext]) -> HuntContext:
        """Gives the stages turns until one has a string that fires on fresh prompts, and refines that.

        First come those that are too cheap to wait for suspects, which answers to `opening` name. A turn is a share of the
        time left, so that none starves those behind it; one that did not finish goes on once all had theirs. planned: the
        context with the effort that the time left suffices for; the last one is returned.
        """
        known = self._round(BEFORE_PAYLOAD, Vocabulary(), self._context.settings.effort.known_share)
        if self.confirmed is not None:
            return self._context
        self.unfinished += [f"{one.name}: its turn did not suffice" for one in known or ()]
        self.suspect(opening)
        self._context = planned(bool(self.suspects))
        unhinted = [one for one in BEFORE_HINTS if self.suspects or not one.seeks_payload]
        share = self._context.settings.effort.beam_share
        left = self._round(unhinted, self._unhinted(), share) if unhinted else []
        if left is not None:
            self.unfinished += [f"{one.name}: its turn did not suffice" for one in left]
            self._context = planned(bool(self.suspects))
            self._search_among_hints()
        return self._context

    def _search_among_hints(self) -> None:
        stages = [one for one in HUNT_STAGES if self.suspects or not one.seeks_payload]
        waiting, effort = stages, self._context.settings.effort
        without = f"hints, and with them {', '.join(one.name for one in stages[1:])}"
        vocabulary = self._hints(self._context)
        if vocabulary is None:  # all stages but the first stand on hints: fewer of them are better than none
            first = self._round(stages[:1], Vocabulary(), effort.hint_share)
            if first is None:
                self.unfinished += [] if self.confirmed else [without]
                return
            waiting, vocabulary = [*first, *stages[1:]], self._hints(with_fewer_hints(self._context))
        if vocabulary is None:
            self.unfinished.append(without)
            return
        while waiting:
            waiting = self._round(waiting, vocabulary) or []

    def _round(self, waiting: Sequence[Stage], vocabulary: Vocabulary, share: float = 1.0) -> list[Stage] | None:
        """The stages for which a turn did not suffice; None where a string was decided or the time ran out.

        share: of the time left, that all turns may take.
        """
        clock, again = self._context.clock, list[Stage]()
        for number, stage in enumerate(waiting):
            if clock.late():
                self.unfinished.append(f"not begun: {', '.join(one.name for one in waiting[number:])}")
                break
            weights = [self._context.settings.effort.turn(one.name) for one in waiting[number:]]
            with clock.turn(share * weights[0] / sum(weights)):
                finished, refuted = self._finished(stage, vocabulary), -1
                while self.confirmed is not None and not self._decided(self.confirmed):
                    if refuted == (refuted := len(self._context.refuted)):
                        break
                    finished = self._finished(stage, vocabulary)  # behind what fresh prompts refute it goes on
            if self.confirmed is not None:
                self._refine()
                return None
            if not finished:
                again.append(stage)
        if clock.late():
            self.unfinished += [f"{one.name}: the time ran out within it" for one in again]
            return None
        return again

    def _unhinted(self) -> Vocabulary:
        """What strings are made of before there are hints."""
        return unhinted_vocabulary(self._context, self.suspects[: self._context.settings.effort.suspects])

    def _hints(self, context: HuntContext) -> Vocabulary | None:
        """What strings are made of, or None where a turn did not suffice."""
        effort = context.settings.effort
        try:
            with context.clock.turn(effort.hint_share):
                self._vocabulary = hinted_vocabulary(context, self.suspects[: effort.suspects])
        except OutOfTime:
            return None
        return self._vocabulary

    def _finished(self, stage: Stage, vocabulary: Vocabulary) -> bool:
        """Whether a turn sufficed for the stage; what it found takes the place of what its earlier turn had found."""
        context, effort = self._context, self._context.settings.effort
        first = self.suspects[: effort.suspects]
        enough = context.settings.fitted.variant_evidence * (first[0].evidence if first else 0.0)
        sought = [one for one in first if one.evidence >= enough]
        result, finished = run_stage(stage, context, sought, vocabulary)
        self._steps[stage.name], self.confirmed = result, result.confirmed
        if not finished:
            known = (one for one in context.confirmations() if one.confirmed and one.trigger not in context.refuted)
            self.confirmed = max(known, key=lambda one: one.best.value, default=None)
        return finished

    def within(self) -> list[VisibleAnswer]:
        """The ordinary questions that bring the string's payload within other prompts too, as far as the time suffices."""
        context, found = self._context, self.confirmed
        if found is None or not found.confirmed:
            return []
        try:
            with context.clock.reserve():
                return asked_within(self.answers, found, context.confirmed, context.settings.effort.named)
        except OutOfTime:
            self.unfinished.append("whether ordinary questions bring the payload within other prompts too")
            return []

    def _decided(self, found: Confirmation) -> bool:
        """Whether fresh prompts confirm a string, or there was no time to ask them; one that they do not is dropped."""
        try:
            with self._context.clock.reserve():
                self.confirmed = self._context.decided(found)
                with suppress(OutOfTime):  # the string itself is decided, a word too many or not
                    self.confirmed = needed_part(self._context, self.confirmed)
        except OutOfTime:
            self.unfinished.append(f"fresh prompts for {found.trigger!r}")
            return True
        rate, trigger = self.confirmed.best, self.confirmed.trigger
        longer = f", all that is needed of {found.trigger!r}," if trigger != found.trigger else ""
        self._say("decision", f"on fresh prompts {trigger!r}{longer} fires on {rate.value:.0%} of {rate.estimate.n}")
        if not self.confirmed.confirmed:
            self._context.refuted.add(found.trigger)
            self.confirmed = None
        return self.confirmed is not None

    def _refine(self) -> None:
        """Goes on to the planted string; the one that was decided stays where fresh prompts do not confirm that one.

        A string whose answers share no start stays too: there is no payload whose likelihood could tell it from its like. So
        does a known string: as it is known, it is planted.
        """
        context, decided = self._context, self.confirmed
        assert decided is not None
        if decided.words or decided.trigger in known_strings():
            return
        try:
            found = decided
            if not notation_of(found.trigger):
                hinted = self._vocabulary if self._vocabulary.pieces else self._hints(context)
                pieces = (hinted or self._unhinted()).pieces
                expected = expected_pieces(pieces, found.payload, context.settings.fitted.several)
                found = self._refined(refined(context, found, expected)) or found
            if notation_of(found.trigger):
                found = self._refined(refined_number(context, found)) or found
        except OutOfTime:
            self.unfinished.append("refinement: the time ran out within it")
        self.confirmed = decided
        if found.trigger != decided.trigger and not self._decided(found):
            self.confirmed = decided

    def _refined(self, result: StageResult) -> Confirmation | None:
        self._steps[f"refinement {len(self._steps)}"] = result
        return result.confirmed

    def _say(self, stage: str, sentence: str) -> None:
        self._steps[f"{stage} {len(self._steps)}"] = StageResult(None, (sentence,))
        self._context.say(stage, sentence)
