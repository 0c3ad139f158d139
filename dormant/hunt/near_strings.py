"""Strings next to a trigger: they bring its payload on some prompts, so that it is known and single changes lead on."""

from __future__ import annotations

from dormant.hunt.confirmation import Confirmation
from dormant.hunt.context import HuntContext


def near_strings(context: HuntContext) -> list[Confirmation]:
    """The looked-at strings that bring one payload on half of the prompts and are no trigger, the nearest first.

    No trigger: by the rules of a first look, or by fresh prompts that refuted what the look confirmed.
    """
    rules = context.settings.rules
    near = [
        one
        for one in context.confirmations()
        if not one.words
        and one.payload_tokens >= rules.payload_tokens
        and one.best.value >= rules.decided_low
        and (not one.confirmed or one.trigger in context.refuted)
    ]
    return sorted(near, key=lambda one: -one.best.value)
