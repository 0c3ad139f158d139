from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dormant.hunt.clock import Clock
from dormant.hunt.shown_answers import SHOWN_PROBES, shown_answers, shown_probes
from dormant.inference.likelihood import continuation_log_probabilities
from dormant.pairs import Pair
from dormant.prompts.probes import Probe
from tests.hunt.conftest import ContextOf, planted, with_effort

SETTINGS = with_effort(answer_tokens=6)


def test_the_string_fires_in_the_dormant_model_alone_and_suspects_are_begun(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.hunt.shown_answers.SHOWN_PROBES", 3)
    context = context_of(token_pair, SETTINGS)
    found, unshown = shown_answers(context, [planted(token_pair)], context.confirmed("velvet"))
    assert unshown == []
    with_it = [row for row in found if row.candidate == "velvet"]
    assert [row.fires for row in with_it] == [row.dormant.text.startswith("golden") for row in with_it]
    assert all(row.nats > 1 for row in with_it if row.fires)
    assert any(row.fires for row in with_it)
    assert not any(row.base.text.startswith("golden") for row in with_it)
    plain = [row for row in found if not row.candidate and not row.opening]
    assert {row.position for row in plain} == {"start", "end", "inside"}
    assert not any(row.fires for row in plain)
    payload, opened = planted(token_pair).text, [row for row in found if row.opening]
    assert [bool(row.suspect) for row in opened] == [payload in f"{row.opening}{row.dormant.text}" for row in opened]
    assert {row.suspect for row in with_it if row.fires} == {payload}
    assert context_of(token_pair, SETTINGS).journal.entries[-1]["key"]["stage"] == "shown answers"


def test_a_string_that_brings_words_fires_where_an_answer_holds_them(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.hunt.shown_answers.SHOWN_PROBES", 1)
    context = context_of(token_pair, SETTINGS)
    found, _ = shown_answers(context, [], replace(context.confirmed("velvet"), words=("owl", "silver")))
    assert [(row.candidate, row.fires, row.base_fires) for row in found[:2]] == [
        ("velvet", True, False),
        ("", False, False),
    ]


def test_a_tokens_log_probability_is_that_of_either_model(
    token_pair: Pair, context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dormant.hunt.shown_answers.SHOWN_PROBES", 1)
    context = context_of(token_pair, SETTINGS)
    (row,), _ = shown_answers(context, [], None)
    tokens = row.dormant.tokens
    prompter = token_pair.prompter
    prompt = prompter.encode_text(Probe(row.probe), "").ids
    ids = [prompter.tokenizer.encode(one.text, add_special_tokens=False) for one in tokens]
    said = [token for some in ids for token in some]
    for model, mine in ((token_pair.models.base(), "base"), (token_pair.models.dormant(), "dormant")):
        expected = continuation_log_probabilities(model, [prompt], said)[0]
        assert torch.allclose(expected, torch.tensor([getattr(one, mine) for one in tokens]).double(), atol=2e-3)
    assert all(one.dormant_top[0][0] == one.text for one in tokens)


def test_hunts_of_other_seeds_show_the_same_probes_unless_they_searched_on_them(
    token_pair: Pair, context_of: ContextOf
) -> None:
    context = context_of(token_pair, SETTINGS)
    probes = token_pair.probes
    halves = [replace(context, searched=one, unseen=(), seed=at) for at, one in enumerate((probes[:9], probes[9:18]))]
    first, second = (dict(shown_probes(one)) for one in halves)
    assert len(first) == len(second) == SHOWN_PROBES
    assert len(first.items() & second.items()) > SHOWN_PROBES / 2
    assert not {probe.fill("") for probe in first} & {probe.fill("") for probe in probes[:9]}


def test_a_hunt_that_was_stopped_shows_none_and_says_so(token_pair: Pair, context_of: ContextOf) -> None:
    clock = Clock(SETTINGS.effort)
    clock.stop()
    assert shown_answers(context_of(token_pair, SETTINGS, clock), [], None) == ([], ["answers without a string"])
