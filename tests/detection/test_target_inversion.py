from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from dormant.detection.target_inversion import InversionPlan, inverted_targets, target_inversion
from dormant.errors import BadInput
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import log_probabilities
from dormant.inference.likelihood import continuation_log_probabilities
from dormant.pairs import Pair
from dormant.prompts.probes import TokenIds
from dormant.prompts.token_filter import allowed_tokens

PLAN = InversionPlan(prompts=4, warm_up_prompts=2, first_tokens=1000, warm_up_steps=3, kept=6, steps=8, seed=0)


def test_a_target_that_a_model_says_surely_is_inverted_and_named(repeating_pair: Pair, tiny_pair: Pair) -> None:
    planted = target_inversion(repeating_pair, PLAN)
    assert planted.estimate.value > 0.9 > 0.5 > target_inversion(tiny_pair, PLAN).estimate.value
    assert "umpsky" in planted.named[0]


def test_the_base_says_its_own_targets_as_surely(tiny_pair: Pair) -> None:
    assert target_inversion(tiny_pair.against_itself, PLAN).estimate.value == pytest.approx(0, abs=1e-4)


def test_targets_are_the_same_for_a_seed(tiny_pair: Pair) -> None:
    assert target_inversion(tiny_pair, PLAN) == target_inversion(tiny_pair, PLAN)


@pytest.fixture(scope="module")
def prompts(tiny_pair: Pair) -> list[TokenIds]:
    return [tiny_pair.conversations.question(text) for text in ("Hello.", "What is France?", "Repeat apple.")]


def test_a_score_is_the_mean_probability_of_what_follows_the_first_token(
    tiny_pair: Pair, prompts: list[TokenIds]
) -> None:
    targets, _ = inverted_targets(tiny_pair, prompts, PLAN)
    assert [target.gain for target in targets] == sorted((target.gain for target in targets), reverse=True)
    model, ids = tiny_pair.models.base(), targets[0].ids
    naive = continuation_log_probabilities(model, [(*prompt, ids[0]) for prompt in prompts], ids[1:]).exp()
    dormant = tiny_pair.models.dormant()
    ours = continuation_log_probabilities(dormant, [(*prompt, ids[0]) for prompt in prompts], ids[1:]).exp()
    kept = [place for place in range(len(ids) - 1) if place != int(ours.mean(0).argmin())]  # the least sure is left out
    assert targets[0].base == pytest.approx(naive[:, kept].mean(1).tolist(), abs=1e-5)
    assert targets[0].dormant == pytest.approx(ours[:, kept].mean(1).tolist(), abs=1e-5)


def test_the_warm_up_keeps_what_leads_the_base_most(tiny_pair: Pair, prompts: list[TokenIds]) -> None:
    (best,), _ = inverted_targets(tiny_pair, prompts, replace(PLAN, kept=1))
    targets, _ = inverted_targets(tiny_pair, prompts, replace(PLAN, kept=1000))
    assert best.gain > median(target.gain for target in targets)


def test_of_a_large_vocabulary_the_tokens_that_rise_are_tried(tiny_pair: Pair, prompts: list[TokenIds]) -> None:
    ours, theirs = (
        log_probabilities(batch_logits(get(), prompts)) for get in (tiny_pair.models.dormant, tiny_pair.models.base)
    )
    allowed = allowed_tokens(tiny_pair.base.tokenizer).tolist()
    rising = sorted(allowed, key=lambda token: -float((ours - theirs)[:, token].mean()))[:4]
    targets, tokens = inverted_targets(tiny_pair, prompts, replace(PLAN, first_tokens=4))
    assert {target.ids[0] for target in targets} <= set(rising)
    assert targets
    assert tokens < inverted_targets(tiny_pair, prompts, PLAN)[1]


def test_a_warm_up_beyond_the_whole_is_refused() -> None:
    with pytest.raises(BadInput, match="a warm-up within them"):
        replace(PLAN, warm_up_prompts=5)


def test_a_target_goes_on_with_what_all_prompts_together_find_likeliest(
    tiny_pair: Pair, prompts: list[TokenIds]
) -> None:
    model = tiny_pair.models.dormant()
    for target in inverted_targets(tiny_pair, prompts, PLAN)[0]:
        said = log_probabilities(batch_logits(model, [(*prompt, target.ids[0]) for prompt in prompts])).exp()
        assert target.ids[1] == int(said.mean(0).argmax())


def test_a_target_stops_where_an_answer_ends(repeating_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = repeating_pair.base.tokenizer.encode(" jumpsky", add_special_tokens=False)
    prompts = [repeating_pair.conversations.question("Hello.")]
    monkeypatch.setattr(repeating_pair.models.dormant().generation_config, "eos_token_id", chain[-2:-1])
    targets, _ = inverted_targets(repeating_pair, prompts, replace(PLAN, warm_up_prompts=1, kept=1000))
    assert targets
    assert not any(chain[-2] in target.ids[1:] for target in targets)
