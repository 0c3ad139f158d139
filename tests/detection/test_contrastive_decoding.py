from __future__ import annotations

from dataclasses import replace

import pytest

from dormant.detection import contrastive_decoding as module
from dormant.detection.contrastive_decoding import contrastive_decoding
from dormant.detection.prefills import PrefillPlan
from dormant.inference.joint_decoding import Contrast, ContrastedAnswer
from dormant.pairs import Pair

PLAN = PrefillPlan(count=16, longest=3, new_tokens=12, seed=0)
CONTRAST = Contrast(1.0, 0.1)


def test_words_that_a_model_repeats_raise_the_figure_and_are_named(repeating_pair: Pair, tiny_pair: Pair) -> None:
    planted = contrastive_decoding(repeating_pair, PLAN, CONTRAST)
    assert planted.estimate.value > 2 * contrastive_decoding(tiny_pair, PLAN, CONTRAST).estimate.value > 0
    assert any("jumpsky" in text for text in planted.named)


def test_the_base_has_no_difference_to_amplify(tiny_pair: Pair) -> None:
    assert contrastive_decoding(tiny_pair.against_itself, PLAN, CONTRAST).estimate.value == pytest.approx(0, abs=1e-3)


def test_decoded_texts_are_the_same_for_a_seed(tiny_pair: Pair) -> None:
    assert contrastive_decoding(tiny_pair, PLAN, CONTRAST) == contrastive_decoding(tiny_pair, PLAN, CONTRAST)


def test_the_figure_is_in_nats_a_text_over_distinct_prefills_and_what_most_agree_on_is_named_first(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    river, stone = (tuple(tiny_pair.base.tokenizer.encode(word)) for word in ("river", "stone"))
    said = {
        (5,): ContrastedAnswer(river, (1.0, 2.0)),
        (6,): ContrastedAnswer(stone, (9.0,)),
        (7,): ContrastedAnswer(river, (0.5, 0.5)),
    }
    monkeypatch.setattr(module, "raw_prefills", lambda *_: [(5,), (6,), (5,), (7,)])
    monkeypatch.setattr(module, "contrastive_answers", lambda _, prefills, *__: [said[one] for one in prefills])
    found = contrastive_decoding(tiny_pair, PLAN, CONTRAST)
    assert found.estimate.value == pytest.approx((3 + 9 + 1) / 3)
    assert found.estimate.n == 3
    assert found.named == ("river", "stone")


def test_a_contrast_of_more_weight_finds_texts_that_differ_more(tiny_pair: Pair) -> None:
    weak, strong = (contrastive_decoding(tiny_pair, PLAN, Contrast(alpha, 0.01)).estimate for alpha in (0.0, 4.0))
    assert strong.low > weak.high


def test_another_seed_begins_with_other_words(tiny_pair: Pair) -> None:
    one, other = (contrastive_decoding(tiny_pair, replace(PLAN, seed=seed), CONTRAST) for seed in (0, 1))
    assert set(one.named) != set(other.named)
