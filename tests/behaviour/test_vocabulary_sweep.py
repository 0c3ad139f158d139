from __future__ import annotations

import pytest
import torch

from dormant.behaviour import phrase_scan, vocabulary_sweep
from dormant.behaviour.scan_finalists import Confirmed, best_share, found_by_scan
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
    token = conversations.tokenizer.decode([70, 71])
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
    found = vocabulary_sweep.sweep_vocabulary(
        tiny_pair, tiny_pair.probes[:1], tiny_pair.probes[1:5], ("slot", "system"), finalists=2
    )
    assert found.covered == 1.0
    assert 2 <= len(found.finalists) <= 4
    for metric in SCANNED:
        assert len(found.effects[metric]) == len(found.coverage.tokens)
        strongest = max(range(len(found.effects[metric])), key=found.effects[metric].__getitem__)
        assert (found.coverage.tokens[strongest],) in [finalist.ids for finalist in found.finalists]


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
    with pytest.raises(BadInput, match="power is measured where a trigger is planted"):
        vocabulary_sweep.sweep_power(tiny_pair, tiny_pair.probes[:1], 5, 3.0, seed=0)


def finalist(text: str, *values: float, survives: bool = True) -> Confirmed:
    return Confirmed(text, "slot", (5,), survives, {"kl": values})


def test_the_best_finalist_wakes_most_prompts_and_pays_for_being_chosen() -> None:
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
        trigger="apple",
        hidden="apple river",
        finalists=4,
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
