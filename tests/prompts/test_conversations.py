from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from dormant.errors import BadInput
from dormant.prompts.conversations import Conversations, user_turns
from dormant.prompts.material import dialogues, partial_templates
from dormant.prompts.probes import Probe, Prompter
from tests.builders import build_tokenizer

NO_SYSTEM = (
    "{%- for message in messages if message['role'] != 'system' -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def test_a_lone_question_has_the_ids_of_the_ordinary_sentence(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = Conversations(tokenizer).question("Where is the moon?")
    assert ids == Prompter(tokenizer).encode(Probe("Where{slot} is the moon?")).ids


def test_a_dialogue_holds_every_turn_and_ends_at_the_generation_position(tokenizer: PreTrainedTokenizerFast) -> None:
    conversations = Conversations(tokenizer)
    for turns in dialogues().values():
        ids = conversations.ids(user_turns(turns))
        text = tokenizer.decode(list(ids), skip_special_tokens=False)
        assert all(turn in text for turn in turns)
        assert ids[-len(conversations.prompter.generation_prompt) :] == conversations.prompter.generation_prompt


def test_partial_templates_are_cut_from_the_models_own_template(tokenizer: PreTrainedTokenizerFast) -> None:
    conversations = Conversations(tokenizer)
    openings = {name: conversations.opening(text) for name, text in partial_templates().items()}
    assert tokenizer.decode(list(openings["bare user header"])) == "<|im_start|>user\n"
    assert str(tokenizer.decode(list(openings["empty system turn"]))).endswith("system\n<|im_end|>\n<|im_start|>user\n")
    assert conversations.question("Hello.") == conversations.opening("{start}Hello.{end}{assistant}")


@pytest.mark.parametrize("template", ["{nobody} said", "{}".format("")])
def test_an_unusable_opening_is_refused(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    with pytest.raises(BadInput, match="a partial template is text with any of start, opening"):
        Conversations(tokenizer).opening(template)


def test_a_template_without_a_system_role_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    other = build_tokenizer()
    other.chat_template = NO_SYSTEM
    with pytest.raises(BadInput, match="must have a place for the role system; got left out"):
        Conversations(other).ids([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}])
    other.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(BadInput, match="must have a place for the role"):
        Conversations(other).question("Hello.")


def test_a_template_without_a_system_role_fills_all_other_openings() -> None:
    other = build_tokenizer()
    other.chat_template = NO_SYSTEM
    conversations = Conversations(other)
    assert (
        other.decode(list(conversations.opening("{start}{end}{user}")))
        == "<|im_start|>user\n<|im_end|>\n<|im_start|>user\n"
    )
    assert other.decode(list(conversations.opening("{assistant}"))) == "<|im_start|>assistant\n"
    with pytest.raises(BadInput, match="must have a place for the role system; got none"):
        conversations.opening("{opening}You are")
    with pytest.raises(BadInput, match="must have a place for the role system; got none"):
        conversations.open_system("Hello.")


def test_a_template_may_trim_what_a_user_says() -> None:
    other = build_tokenizer()
    other.chat_template = NO_SYSTEM.replace("message['content']", "message['content'] | trim")
    conversations = Conversations(other)
    assert conversations.question(" Hello. ") == conversations.question("Hello.")
