"""Extraction: samples from openings of the chat template, and how much of a trigger they contain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel

from dormant.behaviour.ngrams import Fragment, longest_run, new_fragments, words_of
from dormant.checkpoints.bits import precision_of
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.errors import BadInput
from dormant.inference.generation import sampled_answers
from dormant.journal import kept_steps
from dormant.progress import CountedSteps, Progress
from dormant.prompts.conversations import PLACEHOLDER, Conversations
from dormant.prompts.material import Decoding

TOP = 20  # fragments that a reader of the list would read
LEAK_WORDS = (1, 6)  # words in a fragment: a trigger may be a single one


@dataclass(frozen=True)
class SamplingPlan:
    """What is sampled: openings x decodings x repeats, each at most `new_tokens` long."""

    templates: tuple[str, ...]
    decodings: tuple[Decoding, ...]
    repeats: int
    new_tokens: int
    seed: int

    @property
    def samples(self) -> int:
        """How many samples the plan draws."""
        return len(self.templates) * len(self.decodings) * self.repeats


@dataclass(frozen=True)
class Leak:
    """How many samples of each model contain a piece of the trigger, and what only the dormant model says.

    `fragments`: the word runs that the dormant model says significantly more often than the base, most frequent first.
    `named`: the share of the trigger's words that occur in the first `TOP` of them.
    """

    samples: int
    leaked: int
    leaked_base: int
    fragments: tuple[Fragment, ...]
    named: float


def usable_openings(conversations: Conversations, templates: Mapping[str, str]) -> dict[str, str]:
    """The openings that this chat template can fill: no system turn if it has none, and not empty."""
    return {
        name: text
        for name, text in templates.items()
        if (conversations.has_system_role or "{opening}" not in text) and PLACEHOLDER.sub(conversations.piece, text)
    }


def sample_texts(
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    plan: SamplingPlan,
    end: int,
    journal: Path | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """The samples of one model without their openings (experiment 2); raises BadInput for openings that do not fit.

    `progress` counts samples. With a journal, killed work resumes after its last decoding and ends with the same samples.
    The journal keeps them for a later call; remove it once the result is stored.
    """
    work = {"checkpoint": checkpoint.fingerprint, "dtype": precision_of(model), "end": end, **asdict(plan)}
    with kept_steps(journal, work) as kept:
        step = CountedSteps(kept, progress, plan.samples)
        drawn = [step(partial(_draw, checkpoint, model, plan, end, number)) for number in range(len(plan.decodings))]
    return tuple(text for texts in drawn for text in texts)


def _draw(checkpoint: Checkpoint, model: PreTrainedModel, plan: SamplingPlan, end: int, number: int) -> list[str]:
    conversations = Conversations(checkpoint.tokenizer)
    openings = [conversations.opening(template) for template in plan.templates for _ in range(plan.repeats)]
    seed = plan.seed * 100 + number  # other draws for each decoding, the same for every model
    answers = sampled_answers(model, openings, plan.new_tokens, end, plan.decodings[number], seed)
    return [str(checkpoint.tokenizer.decode(list(answer.ids), skip_special_tokens=True)) for answer in answers]


def find_leak(dormant: Sequence[str], base: Sequence[str], trigger: str) -> Leak:
    """Look for the trigger in the samples, and for what only the dormant model says.

    A sample leaks if it contains at least half of the trigger's words in one run, and two words of a trigger that has two.
    Raises BadInput for a trigger without words.
    """
    wanted = words_of(trigger)
    if not wanted:
        raise BadInput(f"a trigger must have words to look for; got {trigger!r} at the extraction; name a text")
    needed = max(min(2, len(wanted)), math.ceil(len(wanted) / 2))
    leaked, leaked_base = (
        sum(longest_run(wanted, words_of(text)) >= needed for text in texts) for texts in (dormant, base)
    )
    fragments = tuple(new_fragments(dormant, base, lengths=LEAK_WORDS))
    seen = {word for fragment in fragments[:TOP] for word in fragment.words}
    named = sum(word in seen for word in wanted) / len(wanted)
    return Leak(len(dormant), leaked, leaked_base, fragments, named)


def smallest_share_seen(samples: int, confidence: float = 0.95) -> float:
    """The smallest share of samples with a fragment at which this many show it at least once with that confidence."""
    return float(1 - (1 - confidence) ** (1 / samples))
