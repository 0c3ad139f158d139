from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dormant.behaviour.amplification import METRICS, amplification, divergences, length_matched_nulls
from dormant.behaviour.noise import RESOLUTION, noise_floors
from dormant.pairs import Pair, open_pair
from dormant.prompts import Prompter


@pytest.fixture(scope="module")
def pair(tiny_base: Path, tiny_dormant: Path) -> Iterator[Pair]:
    opened = open_pair("tiny", tiny_base, tiny_dormant, device="cpu")
    yield opened
    opened.release()


def test_arithmetic_moves_a_float32_model_by_almost_nothing(pair: Pair) -> None:
    prompter = Prompter(pair.base.tokenizer)
    floors = noise_floors(pair, [prompter.encode(probe) for probe in pair.probes[:6]])
    assert set(floors) == {"batch", "padding", "kernel"}
    assert all(RESOLUTION <= floor < 1e-6 for floor in floors.values())


def test_the_floor_leaves_the_model_as_it_was(pair: Pair) -> None:
    before = pair.models.base().config._attn_implementation
    noise_floors(pair, [Prompter(pair.base.tokenizer).encode(pair.probes[0])])
    assert pair.models.base().config._attn_implementation == before


@pytest.mark.parametrize("metric", METRICS)
def test_without_a_candidate_nothing_is_gained(pair: Pair, metric: str) -> None:
    assert amplification(pair, pair.probes[:4], "").gains(metric) == [0.0] * 4


def test_nulls_have_the_candidates_length_and_are_the_same_for_a_seed(pair: Pair) -> None:
    first, again = (length_matched_nulls(pair, pair.probes[:3], 2, 4, seed=5) for _ in range(2))
    assert first == again
    assert [len(null.ids) for null in first] == [2] * 4
    assert [len(null.gains("kl")) for null in first] == [3] * 4


def test_a_null_alone_gives_what_it_gave_in_company(pair: Pair) -> None:
    null = length_matched_nulls(pair, pair.probes[:3], 2, 4, seed=5)[2]
    prompter = Prompter(pair.base.tokenizer)
    prompts = [prompter.encode(probe, null.ids) for probe in pair.probes[:3]]
    plain = [prompter.encode(probe) for probe in pair.probes[:3]]
    for index in range(3):
        _, alone = divergences(pair, plain[index : index + 1], prompts[index : index + 1])
        assert alone["kl"][0] == pytest.approx(null.filled["kl"][index], abs=1e-4)
