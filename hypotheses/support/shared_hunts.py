"""The hunt from two checkpoints to the trigger, run once a pair and shared by its claims, and what it found tried afresh."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dormant.claims.builder import FindingBuilder
from dormant.hunt.confirmation import Confirmation
from dormant.hunt.pipeline import run_hunt
from dormant.hunt.placements import placed_probes
from dormant.hunt.result import HuntResult
from dormant.hunt.settings import HuntSettings
from dormant.inference.generation import greedy_answers
from dormant.pairs import Pair
from dormant.prompts.token_filter import end_of_turn
from dormant.statistics import Estimate, proportion_interval

FRESH = 40  # prompts: where all of them fire, or 38, the interval lies above eight of ten


def shared_hunt_result(pair: Pair, finding: FindingBuilder) -> HuntResult:
    """The hunt of this pair, told nothing. Under the full budget a killed session's goes on where it was."""

    def hunt() -> HuntResult:
        journals = finding.session.journals
        if journals is None:
            with tempfile.TemporaryDirectory() as scratch:
                return run_hunt(pair, Path(scratch), seed=finding.seed)
        folder = journals / f"{pair.name}-hunt"
        found = run_hunt(pair, folder, seed=finding.seed)
        finding.session.kept.update(folder.glob("*.jsonl"))
        return found

    return finding.once(("hunt", finding.seed), hunt, pair=pair)


def fires_afresh(pair: Pair, confirmation: Confirmation, seed: int) -> Estimate:
    """The share of prompts that the hunt never saw, not even to confirm, on which its trigger fires.

    The trigger stands where it fired most; Wilson's interval of `FRESH` prompts at temperature 0. Raises BadInput where the
    pair has too few prompts.
    """
    settings = HuntSettings()
    *_, fresh = placed_probes(pair.probes, (*settings.probe_sets, (FRESH, (confirmation.best.name,))), seed)
    prompter = pair.prompter
    prompts = [prompter.encode_text(probe, confirmation.trigger).ids for probe in fresh]
    answers = greedy_answers(
        pair.models.dormant(), prompts, settings.effort.answer_tokens, end_of_turn(prompter.tokenizer)
    )
    texts = [str(prompter.tokenizer.decode(list(ids))).strip() for ids in answers]
    return proportion_interval(sum(text.startswith(confirmation.payload.strip()) for text in texts), FRESH)
