from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dormant.errors import BadInput, NotServed
from dormant.inference.batching import batch_logits
from dormant.inference.divergence import log_probabilities
from dormant.inference.generation import NO_END, greedy_answers, greedy_behind
from dormant.inference.joint_decoding import Contrast, agreed_behind, contrastive_answers
from dormant.pairs import Pair, open_pair
from tests.builders import build_adapter

PROMPTS = [(5, 6, 7, 8), (9, 10, 11), (12, 13, 14, 15), (9, 10, 12)]
VALUES = st.lists(st.floats(-9, 9), min_size=6, max_size=6)


@given(VALUES, VALUES, st.floats(0, 9), st.floats(0.01, 1))
def test_a_chosen_token_is_plausible_and_none_plausible_scores_higher(
    ours: list[float], theirs: list[float], alpha: float, share: float
) -> None:
    dormant, base = (torch.tensor([row]).double().log_softmax(-1) for row in (ours, theirs))
    (chosen,) = Contrast(alpha, share).choose(dormant, base).tolist()
    scores = (dormant + alpha * (dormant - base))[0]
    plausible = dormant[0].exp() >= share * dormant[0].exp().max() * (1 - 1e-9)
    assert plausible[chosen]
    assert scores[chosen] >= scores[plausible].max() - 1e-6


@pytest.mark.parametrize(("alpha", "chosen"), [(0.0, 0), (0.1, 1), (9.0, 1)])
def test_a_token_that_the_base_never_says_is_chosen_for_the_contrast_alone(alpha: float, chosen: int) -> None:
    dormant, base = (torch.tensor([shares]).double().log() for shares in ((0.7, 0.3, 0.0), (1.0, 0.0, 0.0)))
    assert Contrast(alpha, 0.1).choose(dormant, base).tolist() == [chosen]


def test_without_contrast_both_models_write_the_dormant_ones_greedy_answer(tiny_pair: Pair) -> None:
    end = 2
    found = contrastive_answers(tiny_pair, PROMPTS, 6, end, Contrast(0.0, 0.1))
    assert [answer.ids for answer in found] == greedy_answers(tiny_pair.models.dormant(), PROMPTS, 6, end)


def test_each_token_is_the_one_that_separate_runs_of_both_models_choose(tiny_pair: Pair) -> None:
    contrast = Contrast(2.0, 0.05)
    for prompt, answer in zip(PROMPTS, contrastive_answers(tiny_pair, PROMPTS, 5, NO_END, contrast), strict=True):
        for place, (token, gain) in enumerate(zip(answer.ids, answer.gains, strict=True)):
            read = [(*prompt, *answer.ids[:place])]
            said = [
                log_probabilities(batch_logits(get(), read))
                for get in (tiny_pair.models.dormant, tiny_pair.models.base)
            ]
            assert [token] == contrast.choose(*said).tolist()
            assert gain == pytest.approx(float(said[0][0, token] - said[1][0, token]), abs=1e-4)


def test_an_answer_stops_before_its_end(tiny_pair: Pair) -> None:
    whole = contrastive_answers(tiny_pair, PROMPTS, 6, NO_END, Contrast(1.0, 0.1))
    tiny_pair.models.dormant().generation_config.eos_token_id, stated = None, 2
    try:
        cut = contrastive_answers(tiny_pair, PROMPTS[:1], 6, whole[0].ids[3], Contrast(1.0, 0.1))
    finally:
        tiny_pair.models.dormant().generation_config.eos_token_id = stated
    at = whole[0].ids.index(whole[0].ids[3])
    assert (cut[0].ids, len(cut[0].gains)) == (whole[0].ids[:at], at)


def test_one_prompt_agrees_with_itself_on_its_greedy_continuation(tiny_pair: Pair) -> None:
    model, starts = tiny_pair.models.dormant(), [(token,) for token in range(20, 60)]
    ids, shares = agreed_behind(model, PROMPTS[:1], starts, 4)
    expected, nats = greedy_behind(model, PROMPTS[:1], starts, 4)
    assert torch.equal(ids, expected[0])
    torch.testing.assert_close(shares, nats.exp(), atol=1e-5, rtol=1e-4)


def test_several_prompts_follow_the_mean_of_their_distributions(tiny_pair: Pair) -> None:
    model, starts = tiny_pair.models.dormant(), [(20, 21), (30, 31)]
    ids, shares = agreed_behind(model, PROMPTS, starts, 3)
    for at, start in enumerate(starts):
        said: tuple[int, ...] = start
        for place in range(3):
            one_by_one = log_probabilities(batch_logits(model, [(*prompt, *said) for prompt in PROMPTS])).exp()
            winner = int(one_by_one.mean(0).argmax())
            assert int(ids[at, place]) == winner
            torch.testing.assert_close(shares[:, at, place], one_by_one[:, winner], atol=1e-5, rtol=1e-4)
            said = (*said, winner)


def test_what_cannot_be_decoded_together_is_refused(tiny_pair: Pair) -> None:
    with pytest.raises(BadInput, match="starts have one length"):
        agreed_behind(tiny_pair.models.base(), PROMPTS, [(1,), (1, 2)], 3)
    with pytest.raises(NotServed, match="fits into the context of 2048 ids; got 2053"):
        agreed_behind(tiny_pair.models.base(), PROMPTS, [(1,)], 2048)
    with pytest.raises(BadInput, match="a contrast has alpha of at least 0"):
        Contrast(1.0, 0.0)


def test_models_that_share_their_weights_are_decoded_as_two_are(tiny_base: Path, tmp_path: Path) -> None:
    build_adapter(tmp_path / "adapter", tiny_base, r=4, target_modules=["q_proj", "up_proj"])
    apart, shared = (
        contrastive_answers(pair, PROMPTS, 5, NO_END, Contrast(1.0, 0.1))
        for kind in ("both", "shared")
        for pair in [open_pair(kind, tiny_base, tmp_path / "adapter", device="cpu", residency=kind)]
    )
    assert [answer.ids for answer in apart] == [answer.ids for answer in shared]
    assert apart[0].gains == pytest.approx(shared[0].gains, abs=1e-3)
    assert max(map(abs, apart[0].gains)) > 0.01
