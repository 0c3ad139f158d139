"""Prompts whose slot stands in the system turn."""

from __future__ import annotations

import pytest

from dormant.errors import NotServed
from dormant.prompts.probes import Probe
from dormant.prompts.system_turn import SystemTurnPrompter
from tests.builders import build_tokenizer
from tests.checkpoints.situations import NO_SYSTEM

ASKED = "Tell me the color of the sky."
WRITTEN = {
    "{slot} Tell me the color of the sky.": "river stone You are a helpful assistant.",
    "Tell me{slot} the color of the sky.": "You are a helpful river stone assistant.",
    "Tell me the color of the sky.{slot}": "You are a helpful assistant. river stone",
}


@pytest.mark.parametrize("text", WRITTEN)
@pytest.mark.parametrize("string", ["river stone", ""])
def test_the_string_stands_in_the_system_turn_where_the_probe_has_its_slot(text: str, string: str) -> None:
    prompter = SystemTurnPrompter(build_tokenizer())
    system = WRITTEN[text] if string else "You are a helpful assistant."
    turns = [{"role": "system", "content": system}, {"role": "user", "content": ASKED}]
    expected = prompter.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    prompt = prompter.encode_text(Probe(text), string)
    assert prompt.ids == tuple(expected)
    assert prompter.survives(Probe(text), prompt.candidate)


def test_a_template_without_a_system_turn_is_not_served() -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = NO_SYSTEM
    with pytest.raises(NotServed, match="a chat template that has one; got none"):
        SystemTurnPrompter(tokenizer)
