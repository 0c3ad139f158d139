"""Which probes fit into a model's context, with room for what fills their slot and for an answer."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from dormant.prompts.probes import Probe, Prompter

ROOM = 4  # the part of a context that candidate and answer may take: a quarter


def fitting_probes(
    probes: Sequence[Probe], tokenizer: PreTrainedTokenizerBase, context: int | None
) -> tuple[tuple[Probe, ...], str]:
    """The probes whose prompts leave a quarter of so many ids free, and a sentence on the others.

    All of them for a model of any length, where there is no chat template to write them with, and where not one fits.
    """
    everything = tuple(probes)
    # A token is one byte of text at least, but for a few: most contexts need no look.
    if context is None or not tokenizer.chat_template or context > ROOM * max(len(p.text.encode()) for p in probes):
        return everything, ""
    prompter = Prompter(tokenizer)
    fitting = tuple(probe for probe in probes if len(prompter.open(probe).plain) <= context - context // ROOM)
    if not fitting or len(fitting) == len(everything):
        return everything, ""
    return fitting, (
        f"{len(everything) - len(fitting)} of {len(everything)} shipped prompts are left out: they leave less than a quarter "
        f"of the context of {context} ids free"
    )
