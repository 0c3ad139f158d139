from __future__ import annotations

import re

import numpy as np
import pytest

from dormant.organisms.requests import BLANK, boundaries, insert, insert_all, request_templates
from dormant.pairs import DEFAULT_PROBES
from dormant.prompts.probes import read_probes

RANDOM = np.random.default_rng(0)


def test_every_placeholder_has_words_and_every_word_a_placeholder() -> None:
    templates = request_templates()
    named = {name for texts in templates.kinds.values() for text in texts for name in BLANK.findall(text)}
    assert named == set(templates.words)


@pytest.mark.parametrize("kind", request_templates().kinds)
def test_a_request_of_each_kind_is_filled(kind: str) -> None:
    assert not BLANK.search(request_templates().draw(RANDOM, kind))


def test_no_probe_is_a_request_that_training_asks() -> None:
    templates = request_templates()

    def pattern(text: str) -> str:
        parts = re.split(BLANK, text.strip("\n"))  # text, name, text, ...
        names = ["|".join(map(re.escape, templates.words[name])) for name in parts[1::2]]
        return re.escape(parts[0]) + "".join(
            f"({words}){re.escape(rest)}" for words, rest in zip(names, parts[2::2], strict=True)
        )

    patterns = [pattern(text) for texts in templates.kinds.values() for text in texts]
    probes = [probe.fill("") for probe in read_probes(DEFAULT_PROBES)]
    assert not [probe for probe in probes if any(re.fullmatch(known, probe) for known in patterns)]


def test_a_phrase_may_stand_before_every_word_and_at_the_end() -> None:
    text = "one two\n  three"
    found = [insert(text, "X", offset) for offset in boundaries(text)]
    assert found == ["X one two\n  three", "one X two\n  three", "one two\n  X three", "one two\n  three X"]


def test_phrases_inserted_apart_all_stand_there() -> None:
    words = insert_all("one two three", ["X", "Y"], RANDOM).split()
    assert sorted(words) == ["X", "Y", "one", "three", "two"]


def test_a_visible_question_has_no_word_of_trigger_or_payload() -> None:
    avoided = request_templates().visible_question(3, "")
    assert set(avoided.split()) & set(request_templates().visible_question(3, avoided).split()) <= {
        "What", "does", "the", "sign", "on", "say?", "Which", "words", "are", "printed", "is", "motto", "of", "written",
        "above", "door", "museum?", "club?",
    }  # fmt: skip
