"""The part of a confirmed string that suffices, where the string is longer than the model asks for.

Where some near misses fire and others do not, the words without which it fires as often go. Where all fire, near misses
cannot tell a topic from a trigger, for each leaves enough of it. What parts the two is the rest: two parts of a topic without
a word in common fire each by itself.
"""

from __future__ import annotations

from dormant.hunt.confirmation import Confirmation, minimised
from dormant.hunt.context import HuntContext


def needed_part(context: HuntContext, decided: Confirmation) -> Confirmation:
    """What fresh prompts say of the words that suffice; the string itself where they are all, or where the rest fires too."""
    if decided.words:
        return decided
    if not decided.is_topic(context.settings.rules):
        return _without_superfluous(context, decided)
    words = decided.trigger.split()
    needed = list(words)
    for word in words:
        fewer = list(needed)
        fewer.remove(word)
        if fewer and _brings(context, fewer, decided, context.settings.rules.confirmed_share):
            needed = fewer
    rest = list(words)
    for word in needed:
        rest.remove(word)
    if not rest or _brings(context, rest, decided, context.settings.rules.decided_low):
        return decided
    part = context.decided(context.confirmed(" ".join(needed)))
    return part if part.confirmed else decided


def _without_superfluous(context: HuntContext, decided: Confirmation) -> Confirmation:
    """The string without the words that it fires as often without, where fresh prompts say so too."""
    share = context.settings.rules.confirmed_share
    if not decided.confirmed or all(rate.value < share for rate in decided.near_misses):
        return decided
    shorter = minimised(decided, context.confirmed)
    if shorter.trigger == decided.trigger:
        return decided
    fresh = context.decided(shorter)
    return fresh if fresh.confirmed and fresh.best.value >= decided.best.value else decided


def _brings(context: HuntContext, words: list[str], decided: Confirmation, share: float) -> bool:
    """Whether words bring the string's payload on such a share of the unseen prompts, at one position at least."""
    looked = context.confirmed(" ".join(words))
    return looked.best.value >= share and looked.holds(decided.payload)
