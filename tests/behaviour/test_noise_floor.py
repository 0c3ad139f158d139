from __future__ import annotations

import pytest

from dormant.behaviour.noise_floor import RESOLUTION, noise_floors
from dormant.inference.candidate_effects import METRICS, amplification, divergences, length_matched_nulls
from dormant.pairs import Pair
from dormant.prompts.probes import Prompter


def test_arithmetic_moves_a_float32_model_by_almost_nothing(tiny_pair: Pair) -> None:
    prompter = Prompter(tiny_pair.base.tokenizer)
    floors = noise_floors(tiny_pair, [prompter.encode(probe) for probe in tiny_pair.probes[:6]])
    assert set(floors) == {"batch", "padding", "kernel"}
    assert all(RESOLUTION <= floor < 1e-6 for floor in floors.values())


def test_the_floor_leaves_the_model_as_it_was(tiny_pair: Pair) -> None:
    before = tiny_pair.models.base().config._attn_implementation
    noise_floors(tiny_pair, [Prompter(tiny_pair.base.tokenizer).encode(tiny_pair.probes[0])])
    assert tiny_pair.models.base().config._attn_implementation == before


@pytest.mark.parametrize("metric", METRICS)
def test_without_a_candidate_nothing_is_gained(tiny_pair: Pair, metric: str) -> None:
    assert amplification(tiny_pair, tiny_pair.probes[:4], "").gains(metric) == [0.0] * 4


def test_nulls_have_the_candidates_length_and_are_the_same_for_a_seed(tiny_pair: Pair) -> None:
    first, again = (length_matched_nulls(tiny_pair, tiny_pair.probes[:3], 2, 4, seed=5) for _ in range(2))
    assert first == again
    assert [len(null.ids) for null in first] == [2] * 4
    assert [len(null.gains("kl")) for null in first] == [3] * 4


def test_a_null_alone_gives_what_it_gave_in_company(tiny_pair: Pair) -> None:
    null = length_matched_nulls(tiny_pair, tiny_pair.probes[:3], 2, 4, seed=5)[2]
    prompter = Prompter(tiny_pair.base.tokenizer)
    prompts = [prompter.encode(probe, null.ids) for probe in tiny_pair.probes[:3]]
    plain = [prompter.encode(probe) for probe in tiny_pair.probes[:3]]
    for index in range(3):
        _, alone = divergences(tiny_pair, plain[index : index + 1], prompts[index : index + 1])
        assert alone["kl"][0] == pytest.approx(null.filled["kl"][index], abs=1e-4)
