"""The effort that the time left suffices for: a hunt's context with its plan."""

from __future__ import annotations

from dataclasses import replace

from dormant.hunt.clock import OutOfTime
from dormant.hunt.context import HuntContext, Key
from dormant.hunt.plan import LEAST_TOKENS, LEAST_WORDS, PlannedStage, Sizes, planned, sizes_of
from dormant.hunt.vocabulary import changed_blocks, split_words
from dormant.inference.batching import measured_rate
from dormant.inference.residual_stream import decoder_blocks
from dormant.prompts.token_filter import allowed_tokens


def paced(context: HuntContext) -> tuple[Sizes, float] | None:
    """What costs depend on, and the ids a second that a model runs; None where it is late, and nothing else will begin."""
    try:
        rate = context.kept(Key("rate"), lambda: measured_rate(context.pair.models.base()))
        prompter, settings = context.pair.prompter, context.settings  # whose template is read with a model
    except OutOfTime:
        return None
    split = split_words(prompter.tokenizer, settings.effort.common_words, settings.fitted.word_tokens)
    prompts = [prompter.open(probe) for probe in context.searched]
    changed, layers = changed_blocks(context.pair), len(decoder_blocks(context.pair.models.base()))
    hinting = (changed[-1] + 1 + len(changed)) / layers
    return sizes_of(len(allowed_tokens(prompter.tokenizer)), prompts, sum(map(len, split)), hinting), rate


def with_plan(
    context: HuntContext, pace: tuple[Sizes, float] | None, left: float | None = None, sought: bool = True
) -> tuple[HuntContext, tuple[PlannedStage, ...]]:
    """The context with the effort that fits the budget, and what each stage will cost and leave out.

    left: seconds, once the payload was sought, which may have taken less than its share. sought: whether there is one.
    """
    if pace is None:
        return context, ()
    settings, stages = planned(context.settings, *pace, left, sought)
    return replace(context, settings=settings), stages


def with_fewer_hints(context: HuntContext) -> HuntContext:
    """The same for hints of the least effort: all other stages stand on some."""
    effort = replace(context.settings.effort, hint_prompts=1, hint_tokens=LEAST_TOKENS, common_words=LEAST_WORDS)
    return replace(context, settings=replace(context.settings, effort=effort))
