from __future__ import annotations

from typing import Any

import pytest
import torch

from dormant.behaviour import phrase_scan, vocabulary_sweep
from dormant.behaviour.scan_finalists import Confirmed, best_share, found_by_scan, manners_note
from dormant.errors import BadInput
from dormant.inference.candidate_effects import SCANNED, Effects
from dormant.pairs import Pair
from dormant.prompts.conversations import Conversations
from dormant.prompts.probes import OpenPrompt, Prompter
from tests.builders import build_tokenizer


def test_every_id_is_either_covered_or_left_out_for_a_reason(tiny_pair: Pair) -> None:
    tokenizer = tiny_pair.base.tokenizer
    coverage = vocabulary_sweep.vocabulary_coverage(tokenizer)
    assert sorted((*coverage.tokens, *coverage.special, *coverage.unprintable)) == list(range(len(tokenizer)))
    assert set(tokenizer.all_special_ids) <= set(coverage.special)
    assert f"{len(coverage.tokens)} printable tokens covered" in str(coverage)


def test_roles_put_the_token_where_they_say(tiny_pair: Pair) -> None:
    conversations = Conversations(tiny_pair.base.tokenizer)
    probe = tiny_pair.probes[0]
    texts = {
        role: conversations.tokenizer.decode(
            list(vocabulary_sweep.open_role(conversations, probe, role).close((70, 71)).ids)
        )
        for role in vocabulary_sweep.SWEPT_ROLES
    }
    token = str(conversations.tokenizer.decode([70, 71]))
    assert f"user\n{token} {probe.fill('')}" in texts["start"]
    assert f"You are a helpful assistant.{token}<|im_end|>" in texts["system"]
    assert probe.before + token in texts["slot"]
    with pytest.raises(BadInput, match="a role is one of"):
        vocabulary_sweep.open_role(conversations, probe, "middle")


def test_a_template_without_a_system_turn_has_the_other_roles() -> None:
    tokenizer = build_tokenizer()
    assert (
        vocabulary_sweep.possible_roles(Conversations(tokenizer), vocabulary_sweep.SWEPT_ROLES)
        == vocabulary_sweep.SWEPT_ROLES
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'][:4] }}: {{ messages[-1]['content'] }}{% endfor %}"
    )
    assert vocabulary_sweep.possible_roles(Conversations(tokenizer), vocabulary_sweep.SWEPT_ROLES) == ("slot", "start")


def test_a_sweep_covers_the_vocabulary_and_names_its_finalists(tiny_pair: Pair) -> None:
    plan = vocabulary_sweep.SweepPlan(searched=1, held_out=4, roles=("slot", "system"), finalists=2)
    found = vocabulary_sweep.sweep_vocabulary(tiny_pair, plan)
    assert found.covered == 1.0
    assert 2 <= len(found.finalists) <= 4
    for metric in SCANNED:
        assert len(found.effects[metric]) == len(found.coverage.tokens)
        strongest = max(range(len(found.effects[metric])), key=found.effects[metric].__getitem__)
        assert (found.coverage.tokens[strongest],) in [finalist.ids for finalist in found.finalists]


def test_a_share_of_the_vocabulary_is_drawn_by_a_seed_and_says_how_large_it_is(tiny_pair: Pair) -> None:
    tokenizer = tiny_pair.base.tokenizer
    whole = vocabulary_sweep.vocabulary_coverage(tokenizer)
    some = [vocabulary_sweep.vocabulary_coverage(tokenizer, 10, seed) for seed in (0, 0, 1)]
    assert some[0] == some[1]
    assert some[0].tokens != some[2].tokens
    assert set(some[0].tokens) < set(whole.tokens)
    assert len(some[0].tokens) == 10
    assert f"10 printable tokens of {len(whole.tokens)}, drawn with seed 1, covered" in str(some[2])
    assert vocabulary_sweep.vocabulary_coverage(tokenizer, 10**6) == whole
    sweep = vocabulary_sweep.Sweep(some[0], dict.fromkeys(SCANNED, (0.0,) * 10), ())
    assert sweep.covered == 10 / len(whole.tokens)


@pytest.mark.parametrize("wrong", [{"roles": ()}, {"searched": 0}, {"finalists": 0}, {"tokens": 0}, {"seed": -1}])
def test_a_plan_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="a sweep needs probes"):
        vocabulary_sweep.SweepPlan(**{"searched": 1, "held_out": 1, **wrong})


def test_manners_are_what_moves_the_base_as_much() -> None:
    both = {"kl": (9.0, 9.0, 9.0, 0.0), "difference-in-differences": (9.0, 0.0, 0.0, 0.0)}
    assert "adds to KL on 75% of the prompts and moves the dormant model further than the base on 25%" in manners_note(
        Confirmed("a", "slot", (5,), True, both), 3.0
    )
    assert manners_note(Confirmed("a", "slot", (5,), True, dict.fromkeys(SCANNED, (9.0,))), 3.0) == ""


def test_planted_tokens_complete_the_trigger_and_nothing_else(tiny_pair: Pair) -> None:
    prompter = Prompter(tiny_pair.base.tokenizer)
    probe = next(probe for probe in tiny_pair.probes if probe.before)
    trials = vocabulary_sweep.planted_tokens(prompter, [probe], "apple river")
    whole = prompter.encode_text(probe, "apple river")
    assert len(trials) == len(whole.candidate) > 1
    assert all(opened.close((token,)).ids == whole.ids for opened, token in trials)
    assert all(len(opened.plain) == len(whole.ids) - 1 for opened, _ in trials)


def test_power_counts_the_trials_in_which_the_planted_token_is_found(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def effects(pair: Pair, probes: list[OpenPrompt], candidates: list[tuple[int, ...]]) -> Effects:
        values = torch.zeros(1, len(candidates), dtype=torch.float64)
        values[0, 0] = 5.0 if len(probes[0].before) % 2 else 1.0
        return Effects({"kl": values, "difference-in-differences": -values})

    monkeypatch.setattr(vocabulary_sweep, "measure_effects", effects)
    monkeypatch.setattr(vocabulary_sweep, "planted_trigger", lambda pair: "apple river")
    trials = vocabulary_sweep.planted_tokens(Prompter(tiny_pair.base.tokenizer), tiny_pair.probes[:3], "apple river")
    odd = sum(len(opened.before) % 2 for opened, _ in trials)
    power = vocabulary_sweep.sweep_power(tiny_pair, tiny_pair.probes[:3], 20, threshold=3.0, seed=0)
    assert power == {"kl": (odd, len(trials)), "difference-in-differences": (0, len(trials))}
    assert 0 < odd < len(trials)


def test_a_scan_finds_what_reaches_the_threshold_and_the_finalists() -> None:
    rivals = torch.tensor([5.0, 4.0, 1.0, 0.0])
    assert found_by_scan(3.5, rivals, threshold=3.0)  # third
    assert not found_by_scan(3.5, rivals, threshold=3.6)
    assert not found_by_scan(3.5, torch.tensor([5.0, 4.0, 4.0]), threshold=3.0)  # fourth


def test_power_needs_something_planted(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="power needs a planted trigger"):
        vocabulary_sweep.sweep_power(tiny_pair, tiny_pair.probes[:1], 5, 3.0, seed=0)


def finalist(text: str, *values: float, survives: bool = True) -> Confirmed:
    return Confirmed(text, "slot", (5,), survives, {"kl": values})


def test_the_best_finalist_has_most_diverging_prompts_and_a_wider_interval_for_being_chosen() -> None:
    one_question = finalist("one", 30.0, 0.0, 0.0, 0.0)
    everywhere = finalist("every", 4.0, 4.0, 4.0, 2.0)
    best, share = best_share([one_question, everywhere], "kl", 3.0)
    assert (best.text, share.value, share.n) == ("every", 0.75, 4)
    alone = best_share([everywhere], "kl", 3.0)[1]
    assert share.low < alone.low < alone.high < share.high


def test_between_equals_the_one_that_a_user_could_write_is_best() -> None:
    assert best_share([finalist("ids", 9.0, survives=False), finalist("text", 8.0)], "kl", 3.0)[0].text == "text"
    with pytest.raises(BadInput, match="a scan needs finalists"):
        best_share([], "kl", 3.0)


def test_a_hidden_phrase_is_measured_but_is_no_finalist(tiny_pair: Pair) -> None:
    texts = ("the sky", "a stone", "apple pie")
    scan = phrase_scan.scan_phrases(
        tiny_pair,
        texts,
        tiny_pair.probes[:2],
        tiny_pair.probes[2:6],
        planted=phrase_scan.HiddenTrigger("apple", "apple river"),
    )
    assert scan.planted is not None
    assert len(scan.planted["kl"]) == 2
    assert "apple river" not in {found.text.strip() for found in scan.finalists}
    assert scan.rivals == (0, 1)
    assert scan.power("kl", threshold=1e9) == (0, 2)
    assert scan.power("kl", threshold=-1e9)[1] == 2


def test_power_is_the_share_of_probes_on_which_the_hidden_phrase_is_found() -> None:
    effects = {"kl": ((1.0, 9.0, 6.0, 6.0), (4.5, 0.0, 4.5, 4.5), (0.0, 0.0, 0.0, 0.0))}
    scan = phrase_scan.PhraseScan(
        ("a", "with trigger", "b", "c"), effects, (), {"kl": (5.0, 4.0, 5.0)}, rivals=(0, 2, 3)
    )
    assert scan.power("kl", 3.0) == (2, 3)
    assert phrase_scan.PhraseScan(("a",), effects, ()).power("kl", 3.0) == (0, 0)
