from __future__ import annotations

import pytest

from dormant.detection.contrastive_decoding import contrastive_decoding
from dormant.detection.prefills import PrefillPlan
from dormant.inference.joint_decoding import Contrast
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
