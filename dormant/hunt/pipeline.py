"""From two checkpoints to the trigger: parent, payload, then a list of stages that seek a string, and refinement.

Nothing here reads what an organism says of itself: neither its trigger nor the positions of its probes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dormant.checkpoints.checkpoint import hash_text
from dormant.hunt.confirmation import Confirmation
from dormant.hunt.context import Clock, HuntContext, Key
from dormant.hunt.payloads import Suspect, rank_payloads, without_variants
from dormant.hunt.placements import placed_probes
from dormant.hunt.refinement import refined
from dormant.hunt.result import HuntResult, HuntVerdict, judge, needed_evidence
from dormant.hunt.settings import HuntSettings
from dormant.hunt.stage import SearchPath, Stage, StageResult
from dormant.hunt.stages.coordinate_ascent import CoordinateAscent
from dormant.hunt.stages.gap_filling import GapFilling
from dormant.hunt.stages.group_testing import GroupTesting
from dormant.hunt.stages.numerals import Numerals, notation_of, refined_number
from dormant.hunt.stages.short_strings import ShortStrings, SingleTokens
from dormant.hunt.vocabulary import Vocabulary, excluding_payload_words, expected_pieces, ranked_pieces
from dormant.journal import Journal
from dormant.pairs import Pair
from dormant.progress import Progress
from dormant.prompts.probes import Probe, Prompter
from dormant.prompts.token_filter import allowed_tokens
from dormant.weights.parents import PARENT_AT_MOST
from dormant.weights.report_summary import relative_delta

# In this order. The first runs without a vocabulary and even when time is up; keep SingleTokens first.
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
) -> HuntResult:
    """Hunts within the budget of the settings; killed at any moment, the same call goes on where it was.

    Raises BadInput where the pair has too few ordinary prompts, and where the folder's journal is another hunt's.
    """
    settings = settings or HuntSettings()
    clock = Clock(settings.effort)
    report = pair.delta_report
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
        "dtype": str(pair.models.run_config.dtype),
        "probes": hash_text(*(probe.text for probe in pair.probes)),
        "seed": seed,
        "settings": settings.digest,
    }
    opening, searched, unseen = placed_probes(pair.probes, settings.probe_sets, seed)
    with closing(Journal(folder / "hunt.jsonl", work)) as journal:
        context = HuntContext(pair, searched, unseen, seed, settings, journal, clock, progress)
        context.say(
            "parent", f"the median matrix moved by {delta:.2g} of its norm, {identical:.0%} of tensors are identical"
        )
        ranked, suspects, needed = _suspects(context, opening)
        found = _Found([_payload_step(ranked, suspects, needed)])
        context.say("payload", found.sentences[-1])
        timed_out = _search(context, suspects, found)
        tokens = len(allowed_tokens(pair.base.tokenizer))
        verdict, reason = judge(suspects, needed, found.confirmed, timed_out, tokens)
        if pair.setting_differences:
            reason += f"; beside the delta their settings differ: {'; '.join(map(str, pair.setting_differences))}"
        return HuntResult(
            verdict, reason, delta, identical, ranked, suspects, needed, found.confirmed, tuple(found.sentences),
            UNSEARCHED, found.evaluations, clock.seconds, tuple(found.record), settings,
        )  # fmt: skip


@dataclass
class _Found:
    """What the stages have found so far, all together."""

    sentences: list[str]
    confirmed: Confirmation | None = None
    evaluations: int = 0
    record: list[SearchPath] = field(default_factory=list)

    def add(self, result: StageResult) -> None:
        self.confirmed = result.confirmed
        self.sentences += result.sentences
        self.evaluations += result.evaluations
        self.record += result.record


def _suspects(context: HuntContext, opening: Sequence[Probe]) -> tuple[tuple[Suspect, ...], tuple[Suspect, ...], float]:
    """Strings by their evidence, those with the needed evidence, and how much that is."""
    settings, tokenizer = context.settings, context.pair.base.tokenizer
    prompter = Prompter(tokenizer)
    prompts = [prompter.encode(probe).ids for probe in opening]

    def compute() -> list[dict[str, Any]]:
        found = rank_payloads(context.pair, prompts, settings, context.seed, context.progress)
        return [asdict(one) for one in found[: settings.effort.ranked_payloads]]

    ranked = tuple(Suspect(**{**row, "ids": tuple(row["ids"])}) for row in context.kept(Key("payload"), compute))
    needed = needed_evidence(len(tokenizer), settings)
    suspects = without_variants([one for one in ranked if one.evidence >= needed], settings.fitted)
    return ranked, tuple(suspects), needed


def _search(context: HuntContext, suspects: Sequence[Suspect], found: _Found) -> bool:
    """Runs the stages until one has a string that fires, and refines that; says whether the time ran out before."""
    settings, clock = context.settings, context.clock
    first = suspects[: settings.effort.suspects]
    sought = [one for one in first if one.evidence >= settings.fitted.variant_evidence * suspects[0].evidence]
    vocabulary = Vocabulary()
    for stage in HUNT_STAGES:
        if stage is not HUNT_STAGES[0] and clock.late():
            break
        if stage is not HUNT_STAGES[0] and not vocabulary.pieces:
            vocabulary = _vocabulary(context, first)
        found.add(stage.run(context, sought, vocabulary))
        if found.confirmed is not None:
            break
    timed_out = found.confirmed is None and clock.late()
    if found.confirmed is not None and not notation_of(found.confirmed.trigger):
        pieces = vocabulary.pieces or ranked_pieces(context)
        expected = expected_pieces(pieces, found.confirmed.payload, settings.fitted.several)
        found.add(refined(context, found.confirmed, expected))
    if found.confirmed is not None and notation_of(found.confirmed.trigger):
        found.add(refined_number(context, found.confirmed))
    return timed_out


def _vocabulary(context: HuntContext, suspects: Sequence[Suspect]) -> Vocabulary:
    pieces, letters = ranked_pieces(context), context.settings.rules.piece_letters
    prompter = Prompter(context.pair.base.tokenizer)
    return Vocabulary(tuple(pieces), tuple(excluding_payload_words(suspects, pieces, prompter, letters)))


def _payload_step(ranked: Sequence[Suspect], suspects: Sequence[Suspect], needed: float) -> str:
    if suspects:
        listed = ", ".join(f"{one.text!r} ({one.evidence:.0f} nats)" for one in suspects[:3])
        return f"the dormant model alone finishes {listed}; {needed:.0f} nats are needed to suspect a string"
    most = f"; the most is {ranked[0].text!r} with {ranked[0].evidence:.1f}" if ranked else ""
    return f"no string reaches the {needed:.0f} nats that make it suspect{most}"
