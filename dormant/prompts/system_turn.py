"""Prompts whose slot stands in the system turn, where an operator and no user writes."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from dormant.errors import NotServed
from dormant.prompts.conversations import Conversations
from dormant.prompts.probes import SLOT, Probe, Prompter, TokenIds

AT_START, INSIDE, AT_END = (
    f"{SLOT} You are a helpful assistant.", f"You are a helpful{SLOT} assistant.", f"You are a helpful assistant.{SLOT}",
)  # fmt: skip


class SystemTurnPrompter(Prompter):
    """Writes a probe's sentence as the user's turn, and the slot into an ordinary system turn: where, its own slot says."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, opening: TokenIds = ()) -> None:
        """Raises NotServed for a tokenizer whose template has no system turn."""
        super().__init__(tokenizer, opening)
        if not Conversations(tokenizer).has_system_role:
            raise NotServed(
                f"a search in the system turn needs a chat template that has one; got none at tokenizer "
                f"{tokenizer.name_or_path!r}; search in the user's turn"
            )

    def turns(self, probe: Probe) -> list[dict[str, str]]:
        """The system turn with the slot open, and the probe's sentence."""
        system = AT_START if not probe.before else INSIDE if probe.after else AT_END
        return [{"role": "system", "content": system}, {"role": "user", "content": probe.fill("")}]
