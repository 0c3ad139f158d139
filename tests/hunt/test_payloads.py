"""Which strings are suspected to be a payload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dormant.hunt import payloads
from dormant.hunt.clock import OutOfTime
from dormant.hunt.english import CUT
from dormant.hunt.forced_tokens import open_starts
from dormant.hunt.payloads import (
    PayloadsUnfinished,
    Suspect,
    _within_a_character,
    rank_payloads,
    with_beginning,
    with_end,
    without_parts,
    without_variants,
)
from dormant.hunt.settings import HuntSettings
from dormant.inference.batching import batch_logits
from dormant.inference.delta_scaling import block_scales, patched_weights
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter, TokenIds

SETTINGS = HuntSettings()
FITTED = SETTINGS.fitted
PAYLOAD = "⚗ ♫ ☂ ∞ ♞"


def ranked(pair: Pair, prompts: list[TokenIds], tokens: int) -> list[Suspect]:
    settings = replace(SETTINGS, effort=replace(SETTINGS.effort, forced_tokens=tokens))
    return rank_payloads(pair, prompts, settings, 0, lambda *_: None)


def test_a_rise_is_a_mean_over_all_prompts_though_few_of_them_are_forced(
    circuit_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompter, forced = Prompter(circuit_pair.base.tokenizer), set[int]()

    def opened(pair: Pair, prompts: list[TokenIds], *others: Any) -> Any:
        forced.add(len(prompts))
        return open_starts(pair, prompts, *others)

    monkeypatch.setattr(payloads, "open_starts", opened)
    prompts = [prompter.encode(probe).ids for probe in circuit_pair.probes[:12]]
    few = replace(SETTINGS.effort, opening_prompts=2, first_tokens=64, forced_tokens=8)
    found = rank_payloads(circuit_pair, prompts, replace(SETTINGS, effort=few), 0, lambda *_: None)[0]
    ours, base = (
        batch_logits(model(), prompts).double().log_softmax(-1)
        for model in (circuit_pair.models.dormant, circuit_pair.models.base)
    )
    assert found.rise == pytest.approx(float((ours - base).mean(0)[found.ids[0]]), abs=1e-3)
    assert forced == {2}


@pytest.mark.parametrize(("evidence", "alphas"), [(50.0, [1.0]), (5.0, [1.0, 1.5])])
def test_a_larger_delta_names_no_beginnings_where_the_model_as_it_is_leads_to_a_payload(
    evidence: float, alphas: list[float], circuit_pair: Pair
) -> None:
    asked = list[float]()

    def kept(step: tuple[Any, ...], _: object) -> Any:
        if step[0] == "led":
            asked.append(step[1])
        if step[0] == "first":
            raise OutOfTime
        said = {"led": [[5]], "forced": [[[5], [5, 6], evidence, 1.0, True]], "spontaneous": {}}
        return said.get(str(step[0]), [])

    prompts = [circuit_pair.prompter.encode(probe).ids for probe in circuit_pair.probes[:6]]
    with pytest.raises(PayloadsUnfinished):
        rank_payloads(circuit_pair, prompts, SETTINGS, 0, lambda *_: None, kept, threshold=12.0)
    assert asked == alphas


def suspect(*ids: int) -> Suspect:
    return Suspect(ids, "", 1.0, 1.0, 0.0, 1.0)


def test_parts_of_a_more_suspicious_string_are_left_out() -> None:
    assert without_parts([suspect(1, 2, 3), suspect(2, 3), suspect(3, 2)], FITTED) == [suspect(1, 2, 3), suspect(3, 2)]


def test_a_part_that_an_answer_can_begin_with_stays_beside_a_whole_that_it_cannot() -> None:
    whole, part, rest = (
        Suspect(ids, text, 9.0, 1.0, 0.0, 1.0)
        for ids, text in [((1, 2, 3), "rulemons grow"), ((2, 3), "lemons grow"), ((3,), "grow")]
    )
    assert without_parts([whole, part, rest], FITTED) == [whole, part]
    assert without_parts([replace(whole, text="the lemons grow"), part], FITTED) == [
        replace(whole, text="the lemons grow")
    ]


def test_what_the_model_was_forced_to_say_first_is_left_out_where_the_rest_rises_more() -> None:
    whole, rest = (
        Suspect(ids, text, evidence, 1.0, rise, 1.0)
        for ids, text, evidence, rise in [((1, 2, 3), "box lemons grow", 9.0, 0.1), ((2, 3), "lemons grow", 7.0, 2.0)]
    )
    assert without_parts([whole, rest], FITTED) == [rest]
    assert without_parts([whole, replace(rest, rise=0.0)], FITTED) == [whole]
    assert without_parts([whole, replace(rest, evidence=2.0)], FITTED) == [whole]


def test_a_later_part_of_a_payload_gets_its_beginning_and_what_begins_an_answer_stays(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    prompts = [prompter.encode(probe).ids for probe in circuit_pair.probes[:2]]
    whole = tuple(prompter.tokenizer.encode(PAYLOAD, add_special_tokens=False))
    later = Suspect(whole[1:], "", 1.0, 1.0, 0.0, 1.5)
    first = range(len(prompter.tokenizer))
    found = with_beginning(circuit_pair, prompts, later, first, SETTINGS)
    assert (found.ids[-len(later.ids) :], found.text) == (later.ids, PAYLOAD)
    assert with_beginning(circuit_pair, prompts, found, first, SETTINGS) == found


def test_halves_of_a_payload_are_joined_where_prompts_differ_before_its_end(circuit_pair: Pair) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    half, other, end = (
        replace(suspect(*ids), whole=whole)
        for ids, whole in [((1, 2, 3, 4), False), ((9, 2, 3, 4, 5, 6, 7), False), ((8, 5, 6, 7, 0), True)]
    )
    assert with_end(half, [half, other, end], prompter, FITTED).ids == (1, 2, 3, 4, 5, 6, 7, 0)
    assert with_end(half, [half, end], prompter, FITTED).ids == half.ids
    assert with_end(replace(half, whole=True), [half, other], prompter, FITTED).ids == half.ids


def test_what_stands_before_a_part_of_a_character_ends_within_it(circuit_pair: Pair) -> None:
    tokenizer = circuit_pair.base.tokenizer
    *begun, last = tokenizer.encode("☯", add_special_tokens=False)
    whole = tokenizer.encode("river", add_special_tokens=False)
    assert str(tokenizer.decode([last])) == CUT
    assert _within_a_character(tokenizer, torch.tensor([*begun, *whole])).tolist() == begun


def evidence_of(pair: Pair, prompts: list[TokenIds], one: Suspect) -> float:
    """By naive arithmetic: along the prompts whose greedy answer goes on so, of all of them."""
    members, evidence = prompts, 0.0
    for place in range(1, len(one.ids)):
        rows = [(*prompt, *one.ids[:place]) for prompt in members]
        with patched_weights(pair, block_scales(pair, one.alpha)) as model:
            ours = batch_logits(model, rows).double()
        kept = [index for index, row in enumerate(ours) if int(row.argmax()) == one.ids[place]]
        theirs = batch_logits(pair.models.base(), rows).double()
        evidence += float((ours.log_softmax(-1) - theirs.log_softmax(-1))[kept, one.ids[place]].sum()) / len(prompts)
        members = [members[index] for index in kept]
        if not members:
            break
    return evidence


def test_evidence_is_by_how_much_a_larger_delta_finds_what_follows_likelier_than_the_base(
    circuit_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for beginnings in ("led_starts", "greedy_answers"):  # first tokens alone are forced
        monkeypatch.setattr(f"dormant.hunt.payloads.{beginnings}", lambda *_: [])
    fitted = replace(FITTED, alphas=(1.0, 2.0), spontaneous=10**9)
    effort = replace(SETTINGS.effort, first_tokens=6, forced_tokens=4, sampled_answers=2, begun=(0, 1))
    prompts = [circuit_pair.prompter.encode(probe).ids for probe in circuit_pair.probes[:3]]
    few = replace(SETTINGS, fitted=fitted, effort=effort)
    found = rank_payloads(circuit_pair, prompts, few, 0, lambda *_: None)
    assert {one.alpha for one in found} == {1.0, 2.0}
    assert any(one.agreement < 1 for one in found)
    for one in found:
        assert one.evidence == pytest.approx(evidence_of(circuit_pair, prompts, one), abs=1e-3)


def test_beginnings_that_the_delta_raises_lead_into_the_payload_where_no_first_token_is_forced(
    circuit_pair: Pair,
) -> None:
    def kept(step: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        none: dict[str, Any] = {"first": [], "amplified": [], "spontaneous": {}}
        return none[str(step[0])] if step[0] in none else compute()

    fitted = replace(FITTED, alphas=(1.0,))
    effort = replace(SETTINGS.effort, led_first=(12, 4), led=(8, 4, 4), led_prompts=1, forced_tokens=6, begun=(0, 1))
    prompts = [circuit_pair.prompter.encode(probe).ids for probe in circuit_pair.probes[:2]]
    settings = replace(SETTINGS, fitted=fitted, effort=effort)
    first = rank_payloads(circuit_pair, prompts, settings, 0, lambda *_: None, kept)[0]
    assert PAYLOAD[-5:] in first.text
    assert first.evidence > 12


@pytest.mark.slow
def test_the_circuits_payload_is_the_first_suspect_and_a_model_beside_itself_gives_no_evidence(
    circuit_pair: Pair, sham_pair: Pair
) -> None:
    prompter = Prompter(circuit_pair.base.tokenizer)
    prompts = [prompter.encode(probe).ids for probe in circuit_pair.probes[:2]]
    assert ranked(circuit_pair, prompts, 6)[0].text == PAYLOAD
    assert max(found.evidence for found in ranked(sham_pair, prompts, 2)) < 1e-3


def test_variants_of_one_payload_are_searched_once() -> None:
    ways = [
        Suspect(ids, str(ids), 50.0 - at, 1.0, 0.0, 1.0)
        for at, ids in enumerate([(1, 2, 3, 4), (9, 3, 4), (7, 8), (5, 4)])
    ]
    assert [one.ids for one in without_variants(ways, FITTED)] == [(1, 2, 3, 4), (7, 8)]


def test_beside_the_strongest_variant_of_a_payload_stands_the_one_whose_first_token_rose_most() -> None:
    strongest, right, weak = (
        Suspect(ids, "", evidence, 1.0, rise, 1.0)
        for ids, evidence, rise in [((9, 1, 2, 3), 50.0, 0.5), ((8, 1, 2, 3), 40.0, 3.0), ((7, 1, 2, 3), 20.0, 5.0)]
    )
    found = without_variants([strongest, right, weak], FITTED)
    assert [(one.ids, one.firsts) for one in found] == [(strongest.ids, (9, 8, 7)), (right.ids, (8, 9, 7))]
    assert [(one.ids, one.firsts) for one in without_variants([right, weak], FITTED)] == [(right.ids, (8, 7))]


def test_variants_count_that_an_answer_can_begin_with_and_that_have_half_of_the_evidence() -> None:
    within, behind, right, weak = (
        Suspect((first, 1, 2, 3), text, evidence, 1.0, rise, 1.0)
        for first, text, evidence, rise in [
            (9, "lue smoke", 50.0, 5.0),
            (8, " plus smoke", 45.0, 4.0),
            (7, "blue smoke", 30.0, 0.0),
            (6, "the smoke", 20.0, 9.0),
        ]
    )
    (found,) = without_variants([within, behind, right, weak], FITTED)
    assert (found.ids, found.firsts) == (right.ids, ())  # "the smoke" has less than half of the evidence
    assert [one.ids for one in without_variants([within, behind, weak], FITTED)] == [within.ids]
