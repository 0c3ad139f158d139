"""Conversations as the ids of one tokenizer's chat template, whole or cut open."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput
from dormant.prompts.chat_template import render_chat
from dormant.prompts.probes import OpenPrompt, Prompter, TokenIds

Turn = Mapping[str, str]  # role and content
PLACEHOLDER = re.compile(r"\{(\w+)\}")
TURNS = (("user", "USERWORDS"), ("assistant", "ANSWERWORDS"), ("user", "OTHERWORDS"))


class Conversations:
    """Writes turns as prompts that end at the generation position."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, opening: TokenIds = ()) -> None:
        """Raises BadInput for a tokenizer without a chat template; `opening` is a `Prompter`'s."""
        self.prompter = Prompter(tokenizer, opening)
        self.tokenizer = tokenizer

    def ids(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        """The ids of a conversation and its generation prompt.

        Raises BadInput where the template has no place for a turn, as for the system role in some.
        """
        text = self._render(turns)
        for turn in turns:
            if turn["content"].strip() not in text:  # some templates trim
                raise _no_role(turn["role"], "left out of the prompt", self.tokenizer)
        return tuple(self.tokenizer.encode(text, add_special_tokens=False)) + self.prompter.opening

    def question(self, text: str) -> tuple[int, ...]:
        """The ids of a lone user turn under the template's own system turn."""
        return self.ids([{"role": "user", "content": text}])

    def open_system(self, question: str) -> OpenPrompt:
        """A question under the template's own system turn, with the slot at that turn's end.

        Raises BadInput for a template without a system role.
        """
        if not self.has_system_role:
            raise _no_role("system", "none", self.tokenizer)
        pieces = self.pieces
        default = pieces["start"].removeprefix(pieces["opening"]).removesuffix(pieces["end"] + pieces["user"])
        rest = "".join((pieces["end"], pieces["user"], question, pieces["end"], pieces["assistant"]))
        before = pieces["opening"] + default
        ids = [tuple(self.tokenizer.encode(text, add_special_tokens=False)) for text in (before, rest, before + rest)]
        ending = self.prompter.opening
        return OpenPrompt(ids[0], ids[1] + ending, ids[2] + ending)

    def opening(self, template: str) -> tuple[int, ...]:
        """The ids of a partial template, its placeholders filled with the chat template's own pieces.

        Raises BadInput for an unknown placeholder, for a system turn that the template lacks, and for an opening of no ids.
        """
        if "{opening}" in template and not self.has_system_role:
            raise _no_role("system", "none", self.tokenizer)
        unknown = [name for name in PLACEHOLDER.findall(template) if name not in self.pieces]
        text = PLACEHOLDER.sub(self.piece, template)
        ids = tuple(self.tokenizer.encode(text, add_special_tokens=False))
        if unknown or not ids:
            raise BadInput(
                f"a partial template is text with any of {', '.join(self.pieces)} in braces; got {template!r} at "
                "templates.toml; mend it"
            )
        return ids

    def piece(self, placeholder: re.Match[str]) -> str:
        """What stands for a placeholder of a partial template; nothing for an unknown one."""
        return self.pieces.get(placeholder[1], "")

    @property
    def has_system_role(self) -> bool:
        """Whether the template has a place for a system turn."""
        return self._around_system is not None

    @cached_property
    def pieces(self) -> dict[str, str]:
        """What the template writes around turns: start, opening, end, user, assistant (see data/prompts/templates.toml).

        A template without a system role has no opening.
        """
        user, answer, again = ({"role": role, "content": mark} for role, mark in TURNS)
        end = self._render([user], generation_prompt=False).partition(user["content"])[2]
        start, _, to_assistant = self._render([user]).partition(user["content"])
        if self._around_system is not None:
            opening, to_user = self._around_system
            pieces = {"start": start, "opening": opening, "end": end}
        else:
            to_user = _between(self._render([user, answer, again]), answer["content"], again["content"])
            pieces = {"start": start, "end": end}
        return {**pieces, "user": to_user.removeprefix(end), "assistant": to_assistant.removeprefix(end)}

    @cached_property
    def _around_system(self) -> tuple[str, str] | None:
        """What the template writes before a system turn's words, and between them and the user's."""
        system, user = ({"role": role, "content": mark} for role, mark in (("system", "SYSTEMWORDS"), TURNS[0]))
        try:
            both = self._render([system, user])
        except BadInput:
            return None
        opening, found, rest = both.partition(system["content"])
        to_user, also, _ = rest.partition(user["content"])
        return (opening, to_user) if found and also else None

    def _render(self, turns: Sequence[Turn], generation_prompt: bool = True) -> str:
        try:
            return render_chat(self.tokenizer, turns, generation_prompt)
        except Exception as error:  # a template is a program: jinja passes on whatever it raises
            roles = " and ".join(dict.fromkeys(turn["role"] for turn in turns))
            raise _no_role(roles, repr(error), self.tokenizer) from error


def user_turns(turns: Sequence[str]) -> list[Turn]:
    """A conversation of alternating turns that the user begins."""
    return [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(turns)]


def _between(text: str, left: str, right: str) -> str:
    return text.partition(left)[2].partition(right)[0]


def _no_role(role: str, found: str, tokenizer: PreTrainedTokenizerBase) -> BadInput:
    return BadInput(
        f"the chat template must have a place for the role {role}; got {found} at tokenizer {tokenizer.name_or_path!r}; "
        "leave that turn out or use the template of the instruction-tuned model"
    )
