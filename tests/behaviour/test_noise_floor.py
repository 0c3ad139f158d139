from __future__ import annotations

from dormant.behaviour.noise_floor import RESOLUTION, noise_floors
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
