"""The turn of a conversation in which a hunt's strings stand: the user's, or the system's."""

from __future__ import annotations

from dataclasses import replace

from dormant.checkpoints.checkpoint import hash_text
from dormant.errors import BadInput
from dormant.pairs import Pair
from dormant.prompts.system_turn import SystemTurnPrompter

SLOT_TURNS = USER, SYSTEM = "user", "system"


def in_turn(pair: Pair, turn: str) -> Pair:
    """The pair, its probes' slots in that turn, with the same models; another name and fingerprint tell it apart.

    Raises BadInput for a turn of another name, and NotServed where the template has no system turn.
    """
    if turn == USER:
        return pair
    if turn not in SLOT_TURNS:
        raise BadInput(f"a turn is {USER} or {SYSTEM}; got {turn!r} at --turn; name one of them")
    turned = replace(pair, name=f"{pair.name}, system turn", fingerprint=fingerprint_in(pair, turn))
    opening = pair.answer_opening
    prompter = SystemTurnPrompter(pair.base.tokenizer, opening)
    vars(turned).update(models=pair.models, answer_opening=opening, prompter=prompter)
    return turned


def fingerprint_in(pair: Pair, turn: str) -> str:
    """That of the pair, its probes' slots in that turn."""
    return pair.fingerprint if turn == USER else hash_text(pair.fingerprint, turn)
