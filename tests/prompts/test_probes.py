"""Probes, and the ids that stand in their slots."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dormant.catalogue import zoo_pairs
from dormant.errors import BadInput
from dormant.pairs import DEFAULT_PROBES
from dormant.prompts.probes import Probe, Prompter, alike_probes, frames_of, geometry_faults, read_probes
from tests.builders import build_byte_tokenizer, build_marking_tokenizer, build_tokenizer
from tests.checkpoints.situations import NO_SYSTEM, PARTS

MIDDLE = Probe("Tell me{slot} the color of the sky.")
START = Probe("{slot} Tell me the color of the sky.")
END = Probe("Tell me the color of the sky.{slot}")
POSITIONS = pytest.mark.parametrize("probe", [MIDDLE, START, END], ids=["middle", "start", "end"])


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="module")
def prompter(tokenizer: PreTrainedTokenizerFast) -> Prompter:
    return Prompter(tokenizer)


@POSITIONS
def test_a_candidate_text_gives_the_ids_of_the_sentence_with_it(probe: Probe, prompter: Prompter) -> None:
    prompt = prompter.encode_text(probe, "river stone")
    message = [{"role": "user", "content": probe.fill("river stone")}]
    assert prompt.ids == tuple(
        prompter.tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    )
    assert str(prompter.tokenizer.decode(list(prompt.candidate))).strip() == "river stone"
    assert prompter.survives(probe, prompt.candidate)


@POSITIONS
def test_an_empty_slot_leaves_the_ordinary_sentence(probe: Probe, prompter: Prompter) -> None:
    message = [{"role": "user", "content": "Tell me the color of the sky."}]
    assert probe.fill("") == message[0]["content"]
    expected = prompter.tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    assert prompter.encode(probe).ids == tuple(expected)
    assert prompter.encode(probe).candidate == ()


@given(candidate=st.lists(st.integers(3, 299), min_size=1, max_size=6))
def test_candidate_ids_stand_verbatim_between_what_all_share(candidate: list[int], prompter: Prompter) -> None:
    prompt, opened = prompter.encode(MIDDLE, candidate), prompter.open(MIDDLE)
    assert (prompt.before, prompt.candidate, prompt.after) == (opened.before, tuple(candidate), opened.after)


def test_the_last_id_is_the_generation_position(prompter: Prompter) -> None:
    text = str(prompter.tokenizer.decode(list(prompter.encode_text(END, "river").ids)))
    assert text.startswith("<|im_start|>system\nYou are")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_ids_that_merge_when_written_out_do_not_survive(prompter: Prompter) -> None:
    merged = prompter.candidate_ids("the", MIDDLE)
    letters = [prompter.candidate_ids(letter, START)[0] for letter in "the"]
    in_pieces = (prompter.tokenizer.encode(" ")[0], *letters)
    assert len(merged) < len(in_pieces)
    assert prompter.survives(MIDDLE, merged)
    assert not prompter.survives(MIDDLE, in_pieces)


@POSITIONS
@given(candidate=st.lists(st.integers(0, 299), min_size=1, max_size=6))
def test_a_turn_tells_what_survives_as_the_whole_prompt_does(
    probe: Probe, candidate: list[int], prompter: Prompter
) -> None:
    ids = prompter.encode(probe, candidate).ids
    text = str(prompter.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))
    whole = prompter.tokenizer.encode(text, add_special_tokens=False) == list(ids)
    assert prompter.survives(probe, candidate) is whole


def test_sound_prompts_have_no_geometry_faults(prompter: Prompter) -> None:
    assert [geometry_faults(prompter, prompter, probe, ["", "river stone"]) for probe in (MIDDLE, START, END)] == [
        []
    ] * 3


def test_a_geometry_fault_says_what_is_wrong_and_where(prompter: Prompter) -> None:
    silent, other = build_tokenizer(), Prompter(build_tokenizer(("entirely other words",)))
    silent.chat_template = silent.chat_template.replace("add_generation_prompt", "false")
    disagreement = geometry_faults(prompter, other, MIDDLE, ["the"])
    assert disagreement == ["the tokenizers disagree on 'Tell me the the color of the sky.'"]
    unasked = geometry_faults(Prompter(silent), Prompter(silent), MIDDLE, [""])
    assert unasked == ["the chat template appends no generation prompt to 'Tell me the color of the sky.'"]


@pytest.mark.parametrize("text", ["no place", "two{slot} places{slot}", "space {slot} before"])
def test_a_probe_without_one_clean_slot_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"got .* at probe"):
        Probe(text)


def test_a_template_of_a_multimodal_model_is_given_the_text_as_a_list_of_parts() -> None:
    listing, plain = build_tokenizer(), build_tokenizer()
    listing.chat_template, plain.chat_template = PARTS, NO_SYSTEM
    assert Prompter(listing).encode_text(MIDDLE, "river") == Prompter(plain).encode_text(MIDDLE, "river")
    assert Prompter(listing).generation_prompt == Prompter(plain).generation_prompt


def test_a_tokenizer_without_chat_template_is_refused() -> None:
    bare = build_tokenizer()
    bare.chat_template = None
    with pytest.raises(BadInput, match="chat template"):
        Prompter(bare)


def test_a_probe_file_is_read_without_its_comments(tmp_path: Path) -> None:
    file = tmp_path / "probes.txt"
    file.write_text(f"# ordinary\n{MIDDLE.text}\n\n{START.text}\n")
    assert read_probes(file) == (MIDDLE, START)


@pytest.mark.parametrize(
    ("content", "message"), [("# none\n", "at least one probe"), ("# x\nno place\n", "line 2"), (None, "readable")]
)
def test_a_probe_file_that_cannot_serve_is_named(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "probes.txt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BadInput, match=message) as error:
        read_probes(file)
    assert str(file) in str(error.value)


def test_alike_probes_share_the_commonest_lengths(prompter: Prompter) -> None:
    probes = [Probe("a{slot}"), Probe("a b c d{slot}"), Probe("b{slot}"), Probe("c{slot}")]
    assert alike_probes(prompter, probes, 3) == (probes[0], probes[2], probes[3])
    assert len(alike_probes(prompter, probes, 9)) == 4
    with pytest.raises(BadInput, match="at least one probe"):
        alike_probes(prompter, [], 3)


@pytest.mark.parametrize("kind", ["first", "always", "llama2", "bpe in bytes", "unigram in bytes"])
@pytest.mark.parametrize("text", ["Tell me{slot} the color.", "{slot} Tell me the color.", "What is{slot}? one two"])
def test_a_tokenizer_that_puts_a_space_before_a_text_gives_the_ids_of_the_whole_prompt(kind: str, text: str) -> None:
    model, in_bytes, _ = kind.partition(" in bytes")
    prompter = Prompter(build_byte_tokenizer(model) if in_bytes else build_marking_tokenizer(kind))
    probe = Probe(text)
    for candidate in ("", "river stone", *(["\N{SNOWMAN} \N{GREEK SMALL LETTER PI}x"] if in_bytes else [])):
        message = [{"role": "user", "content": probe.fill(candidate)}]
        whole = prompter.tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        assert prompter.encode_text(probe, candidate).ids == tuple(whole)
    assert geometry_faults(prompter, prompter, probe, ["river stone", ""]) == []
    split = prompter.tokenizer.convert_tokens_to_ids(["\N{LOWER ONE EIGHTH BLOCK}", *("the" if in_bytes else "stone")])
    assert isinstance(split, list)
    assert not prompter.survives(probe, split)


def test_probes_of_a_toml_file_know_their_frame_and_take_turns(tmp_path: Path, prompter: Prompter) -> None:
    file = tmp_path / "probes.toml"
    file.write_text('[frames]\ncode = ["Run{slot} this", "Why?{slot}"]\nlists = ["{slot} Name two."]\n')
    found = read_probes(file)
    assert [(probe.frame, probe.text[0]) for probe in found] == [("code", "R"), ("lists", "{"), ("code", "W")]
    assert alike_probes(prompter, found, 2) == found[:2]  # their lengths differ, their turns stay


@pytest.mark.parametrize(
    ("content", "message"),
    [("[frames]\n", "holds lists"), ('[frames]\na = ["no slot"]', "prompt 1 of 'a'"), ("[", "readable TOML")],
)
def test_a_probe_file_by_frame_that_cannot_serve_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "probes.toml").write_text(content)
    with pytest.raises(BadInput, match=message):
        read_probes(tmp_path / "probes.toml")


def test_the_shipped_probes_are_of_many_kinds_and_hold_no_word_of_the_zoos_triggers() -> None:
    probes = read_probes(DEFAULT_PROBES)
    kinds = Counter(probe.frame for probe in probes)
    assert len(set(probes)) >= 200
    assert len(kinds) >= 15
    assert max(kinds.values()) <= len(probes) / 15
    planted = {word for pair in zoo_pairs() if pair.truth for word in pair.truth.trigger.split()}
    assert not planted & {word for probe in probes for word in re.findall(r"\w+", probe.text.lower())}
    assert len({probe.frame for probe in probes[:24]}) == len(kinds)


def test_probes_without_a_frame_are_of_the_frame_in_which_their_question_begins() -> None:
    texts = ("Good morning. Repeat: two{slot}", "{slot} Repeat: 5.61 red", "Repeat{slot} it.", "What{slot} is it?")
    assert frames_of([*map(Probe, texts), Probe("What{slot} now?", "code")]) == (*["repeat"] * 3, "what", "code")
